"""The socket table: a file that session and layers map, so that neither the layer nor a child of it keeps state.

Twin of native/rules `table`. Little-endian, every slot aligned to 8 bytes:

    header      64 bytes    8 magic "inpodtb1", u32 flags (bit 0: a replica directory was opened or entered), rest zero
    ports       65536 slots of 48 bytes, index: a loopback port that the session connects *from* to the program
                            address peer (20), address local (20), u32 generation (0: empty), u32 zero
    sockets     65536 slots of 64 bytes, open addressing by SO_COOKIE
                            u64 cookie (0: empty), address local (20), address peer (20), i32 errno, u8 kind, 11 zero

Addresses as in protocol/layer.py; family 0 means none. A socket's slot is (cookie * 0x9E3779B97F4A7C15 mod 2^64) >> 48,
then the next ones, at most PROBES; when all are taken, one whose kind is not LISTENER is overwritten.
The layer writes a socket's slot (addresses first, cookie last); the session writes `errno` and `local` of a connect,
and port slots before it connects.
"""
