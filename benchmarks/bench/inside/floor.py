"""The floor: an ordinary Sanic handler that only validates the note and answers 201, storing nothing."""

from typing import Annotated

import msgspec
from sanic import Sanic
from sanic.request import Request
from sanic.response import HTTPResponse, json

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class Note(msgspec.Struct, forbid_unknown_fields=True):
    """The design's course note: four fields of 1 to 128 characters, and no other."""

    curso: Text
    facultad: Text
    carrera: Text
    region: Text


decoder = msgspec.json.Decoder(Note)
app = Sanic("floor")


@app.post("/course")
async def course(request: Request) -> HTTPResponse:
    """201 for a valid note, with an answer as long as the real ones; 400 otherwise."""
    try:
        note = decoder.decode(request.body)
    except msgspec.MsgspecError as error:
        return json({"error": str(error)}, 400)
    if not all(text.strip() for text in (note.curso, note.facultad, note.carrera, note.region)):
        return json({"error": "a text must not be only white space"}, 400)
    return json({"id": "000000000000000000000000", "route": "floor"}, 201, {"X-Route": "floor"})


@app.get("/readyz")
async def readyz(_: Request) -> HTTPResponse:
    """There is nothing it waits for."""
    return json({"status": "ok"})


if __name__ == "__main__":
    app.run("0.0.0.0", 8000, single_process=True, access_log=False, motd=False)
