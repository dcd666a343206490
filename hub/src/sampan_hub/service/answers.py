"""How a JSON text that a worker thread made becomes an answer."""

from __future__ import annotations

from starlette.responses import Response


def json_answer(text: str, status: int = 200) -> Response:
    """The text as it is: it came out of a wire model, which need not be validated and encoded again."""
    return Response(text, status_code=status, media_type="application/json", headers={"Cache-Control": "no-store"})
