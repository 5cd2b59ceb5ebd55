"""How routes reach the services of their app."""

from typing import Annotated, cast

from fastapi import Depends, Request

from serving.deps import Services


async def services_of(request: Request) -> Services:
    """A coroutine only because FastAPI hands every plain function to a thread, which costs more than an answer."""
    return cast(Services, request.app.state.services)


Wired = Annotated[Services, Depends(services_of)]
