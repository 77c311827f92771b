"""Writes vectors.json: FLOE streams made from the specification (c2sp.org/FLOE) with fixed IVs and nonces, by another library.

Needs the Python package cryptography. Run: python3 vectors.py > vectors.json
"""
import hashlib, hmac, json
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def expand(prk, info, n):  # RFC 5869, section 2.3
    out, t, i = b"", b"", 1
    while len(out) < n:
        t = hmac.new(prk, t + info + bytes([i]), hashlib.sha384).digest()
        out, i = out + t, i + 1
    return out[:n]


def floe(key, iv, aad, segment, plaintext):
    params = bytes([0, 0]) + segment.to_bytes(4, "big") + (32).to_bytes(4, "big")
    kdf = lambda k, purpose, n: expand(k, params + iv + purpose + aad, n)
    message = kdf(key, b"MESSAGE_KEY:", 48)
    out = params + iv + kdf(key, b"HEADER_TAG:", 32)
    room = segment - 32
    pieces = [plaintext[i : i + room] for i in range(0, len(plaintext), room)] or [b""]
    for n, piece in enumerate(pieces):
        last = n == len(pieces) - 1
        nonce = hashlib.sha256(b"nonce" + n.to_bytes(8, "big")).digest()[:12]
        dek = kdf(message, b"DEK:" + (n >> 20 << 20).to_bytes(8, "big"), 32)
        sealed = AESGCM(dek).encrypt(nonce, piece, n.to_bytes(8, "big") + (b"\1" if last else b"\0"))
        length = (4 + 12 + len(sealed)).to_bytes(4, "big") if last else b"\xff" * 4
        out += length + nonce + sealed
    return out


vectors = []
for name, segment, size, aad in [
    ("empty", 64, 0, b""), ("one byte, smallest segment", 33, 1, b"This is AAD"), ("three bytes in smallest segments", 33, 3, b"This is AAD"),
    ("last segment full", 64, 64, b"This is AAD"), ("last segment short", 64, 67, b"This is AAD"), ("4 KiB segments", 4096, 4100, bytes(48)),
]:
    key = hashlib.sha256(b"key" + name.encode()).digest()
    iv = hashlib.sha256(b"iv" + name.encode()).digest()
    plaintext = bytes((i * 7 + 3) % 256 for i in range(size))
    vectors.append({"name": name, "key": key.hex(), "aad": aad.hex(), "plaintext": plaintext.hex(), "stream": floe(key, iv, aad, segment, plaintext).hex()})
print(json.dumps(vectors, indent=1))
