"""A contract with every type and rule, in two versions."""

from pathlib import Path

import yaml

from tidemark.contracts import ContractSet, load_contracts

V1 = """
name: everything
version: 1
event_time: at
late_after: 90s
key: id
dedupe: id
fields:
  id: {type: string, required: true, rules: {length: [1, 8]}}
  at: {type: timestamp, required: true}
  n: {type: long, required: true, rules: {between: [-10, 10]}}
  x: {type: long}
  price: {type: "decimal(5,2)"}
  old: {type: string, rules: {in: [a, b]}}
  st:
    type: struct
    fields:
      p: {type: long}
      gone: {type: string}
"""
V2 = """
name: everything
version: 2
event_time: at
late_after: 90s
key: id
dedupe: id
fields:
  id: {type: string, required: true, rules: {length: [1, 8]}}
  at: {type: timestamp, required: true}
  n: {type: long, required: true, rules: {between: [-10, 10]}}
  x: {type: double, rules: {between: [-1.5, null]}}
  flag: {type: boolean}
  code: {type: string, rules: {matches: "^[A-Z]{2}(-[0-9]{1,3})?$"}}
  any: {type: string, rules: {matches: "^.*$"}}
  kind: {type: string, rules: {in: [a, "5", "true"]}}
  level: {type: long, rules: {in: [1, 2]}}
  price: {type: "decimal(7,3)", rules: {between: ["-1.5", 999]}}
  secret: {type: string, pii: pseudonymise}
  when: {type: timestamp}
  tags: {type: "map<string,string>"}
  st:
    type: struct
    required: true
    fields:
      p: {type: double, required: true, rules: {between: [0, 100]}}
      q: {type: string, rules: {length: [0, 3]}}
      d: {type: "decimal(4,1)"}
      t: {type: timestamp}
"""


def everything(folder: Path, *texts: str) -> ContractSet:
    """The contract as loaded from files."""
    for text in texts or (V1, V2):
        (folder / f"everything-{yaml.safe_load(text)['version']}.yaml").write_text(text, encoding="utf-8")
    return load_contracts([folder])["everything"]
