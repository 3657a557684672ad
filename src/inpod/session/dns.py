"""Names, as the pod resolves them."""

from inpod.protocol import agent, layer
from inpod.tunnel.streams import StreamRefused, Tunnel

EAI = {"noname": -2, "again": -3, "nodata": -5}
"""glibc's EAI_NONAME, EAI_AGAIN, EAI_NODATA (netdb.h)."""

FAMILY = {0: 0, 4: 2, 6: 10}


async def resolve(tunnel: Tunnel, request: layer.Resolve) -> bytes:
    """Return the reply to a RESOLVE."""
    question = agent.Resolve(request.name, FAMILY.get(request.family, 0))
    try:
        found = agent.decode_answer(agent.Resolved, await tunnel.ask(agent.encode(question)))
    except (StreamRefused, agent.PeerProtocolError):
        return layer.encode_reply(EAI["again"])
    if found.failure or not found.addresses:
        return layer.encode_reply(EAI.get(found.failure, EAI["noname"]))
    addresses = tuple(layer.Addr.of(text.partition("%")[0], 0).ip for text in found.addresses)
    return layer.encode_reply(0, layer.Resolved(addresses, found.canonical))
