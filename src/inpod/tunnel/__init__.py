"""How it travels: frames and mux without I/O, streams on asyncio."""
