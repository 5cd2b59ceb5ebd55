"""Row rules turned into checks: of the stream, of single records, and of the batch's stages (gates)."""
