"""What programs with OpenAI's SDK do, as they would against any server: nothing here knows of mcpd.

    OPENAI_BASE_URL=http://127.0.0.1:3100/v1 OPENAI_API_KEY=mcpd_... python openai_sdk.py MODEL STORY...

Prints for each story one line of JSON: what came of it, or which exception was raised.
"""

import asyncio
import json
import sys
from typing import Literal

import openai
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

MODEL = sys.argv[1]
QUESTION = [{"role": "user", "content": "hi"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}

client = OpenAI()


class Answer(BaseModel):
    answer: Literal["yes"]


def chat():
    completion = client.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=30, user="somebody")
    return {"text": completion.choices[0].message.content, "tokens": completion.usage.completion_tokens}


def stream():
    chunks = list(
        client.chat.completions.create(
            model=MODEL, messages=QUESTION, stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    return {"text": text, "chunks": len(chunks), "tokens": chunks[-1].usage.completion_tokens}


def async_stream():
    async def run():
        async with AsyncOpenAI() as own:
            chunks = await own.chat.completions.create(model=MODEL, messages=QUESTION, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices])

    return {"text": asyncio.run(run())}


def tools():
    first = client.chat.completions.create(model=MODEL, messages=QUESTION, tools=[WEATHER], max_tokens=100)
    message = first.choices[0].message
    call = message.tool_calls[0]
    result = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
    said = [*QUESTION, message, result]
    second = client.chat.completions.create(model=MODEL, messages=said, tools=[WEATHER], max_tokens=100)
    return {
        "name": call.function.name,
        "arguments": json.loads(call.function.arguments),
        "finish": first.choices[0].finish_reason,
        "text": second.choices[0].message.content,
    }


def tools_stream():
    with client.chat.completions.stream(model=MODEL, messages=QUESTION, tools=[WEATHER]) as events:
        call = events.get_final_completion().choices[0].message.tool_calls[0]
    return {"name": call.function.name, "arguments": json.loads(call.function.arguments)}


def schema():
    completion = client.chat.completions.parse(
        model=MODEL, messages=QUESTION, response_format=Answer, max_tokens=60
    )
    return {"answer": completion.choices[0].message.parsed.answer}


def completion():
    whole = client.completions.create(model=MODEL, prompt="hi", max_tokens=4, temperature=0)
    return {"text": whole.choices[0].text, "tokens": whole.usage.completion_tokens}


def completion_stream():
    chunks = list(
        client.completions.create(model=MODEL, prompt="hi", max_tokens=4, temperature=0, stream=True)
    )
    return {"text": "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)}


def embeddings():
    vectors = client.embeddings.create(model=MODEL, input=["hi", "ho"]).data
    plain = client.embeddings.create(model=MODEL, input="hi", encoding_format="float").data[0]
    near = max(abs(a - b) for a, b in zip(vectors[0].embedding, plain.embedding, strict=True))
    return {"vectors": len(vectors), "long": len(vectors[0].embedding), "same": near < 1e-6}


def responses():
    return {"text": client.responses.create(model=MODEL, input="hi").output_text}


def responses_stream():
    text, last = "", None
    for event in client.responses.create(model=MODEL, input="hi", stream=True):
        last = event.type
        if event.type == "response.output_text.delta":
            text += event.delta
    return {"text": text, "last": last}


def models():
    return {"ids": [model.id for model in client.models.list()]}


def retrieve():
    model = client.models.retrieve(MODEL)
    return {"id": model.id, "object": model.object, "owned_by": model.owned_by, "created": model.created}


def once():
    """The same without a second try, for those who count."""
    completion = client.with_options(max_retries=0).chat.completions.create(model=MODEL, messages=QUESTION)
    return {"text": completion.choices[0].message.content}


def leave():
    """Leaves a stream that never ends, and goes on living until nobody writes to it any more."""
    endless = [{"role": "user", "content": "[forever]"}]
    chunks = client.chat.completions.create(model=MODEL, messages=endless, stream=True)
    text = ""
    while "ock" not in text:
        text += next(chunks).choices[0].delta.content or ""
    print("leaving", flush=True)
    chunks.close()
    sys.stdin.read()
    return {}


def raised(error):
    """What a program can see of an exception."""
    told = {"raised": type(error).__name__, "message": getattr(error, "message", str(error))}
    told |= {name: getattr(error, name) for name in ("status_code", "code", "type", "request_id") if hasattr(error, name)}
    return told


for name in sys.argv[2:]:
    try:
        outcome = globals()[name]()
    except openai.OpenAIError as error:
        outcome = raised(error)
    print(json.dumps(outcome), flush=True)
