"""The model server of `serving.py`: OpenAI's API with a stated latency and no model, in a process of its own.

`python serving_upstream.py PORT LATENCY_MS`. The body's `model` decides what is answered: `prose` (nothing to rank),
else a different program in each choice. A request for a rating, as optillm makes them, is answered with a number.
`/stats` tells how many answers were given. Standard library only.
"""

import asyncio
import json
import sys

PROGRAM = """Here is the function.

```python
def add(a, b):
    # Way number {number} of doing it.
    total = a + b
    return total
```
"""
PROSE = "The sum of two numbers is what one gets by counting the second on from the first. Way number {number}."
RATING = "Rate the above response:"


class Upstream:
    def __init__(self, seconds):
        self.seconds, self.answers, self.choices = seconds, 0, 0

    async def serve(self, reader, writer):
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                lines = head.split("\r\n")
                fields = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
                body = await reader.readexactly(int(fields.get("content-length", 0)))
                answer = await self.answer(lines[0].split(" ")[1], body)
                text = json.dumps(answer).encode()
                start = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
                writer.write(start.encode() + text)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def answer(self, path, body):
        if path.endswith("/stats"):
            return {"answers": self.answers, "choices": self.choices}
        if path.endswith("/models"):
            return {"object": "list", "data": [{"id": "code", "object": "model"}, {"id": "prose", "object": "model"}]}
        asked = json.loads(body)
        await asyncio.sleep(self.seconds)
        count = asked.get("n") or 1
        self.answers += 1
        self.choices += count
        if asked["messages"][-1]["content"] == RATING:
            texts = ["7"] * count
        else:
            form = PROSE if asked["model"] == "prose" else PROGRAM
            texts = [form.format(number=number) for number in range(count)]
        return {
            "id": f"chatcmpl-{self.answers}",
            "object": "chat.completion",
            "created": 0,
            "model": asked["model"],
            "choices": [
                {"index": i, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
                for i, text in enumerate(texts)
            ],
            "usage": {"prompt_tokens": 20, "completion_tokens": 40 * count, "total_tokens": 20 + 40 * count},
        }


async def main(port, seconds):
    server = await asyncio.start_server(Upstream(seconds).serve, "127.0.0.1", port, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]) / 1000))
