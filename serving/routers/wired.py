"""How routes reach the services of their app."""

from typing import Annotated, cast

from fastapi import Depends, Request

from serving.deps import Services


def services_of(request: Request) -> Services:
    return cast(Services, request.app.state.services)


Wired = Annotated[Services, Depends(services_of)]
