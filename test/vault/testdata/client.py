"""hvac as a program uses it whose environment was set from dev.env. It fails with what was not as it should be."""

import base64
import hashlib
import os

import hvac
from hvac import exceptions

vault = hvac.Client()  # VAULT_ADDR, VAULT_TOKEN and VAULT_CACERT
transit = vault.secrets.transit


def text(b):
    return base64.b64encode(b).decode()


def refused(kind, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except kind as e:
        return e
    raise AssertionError(f"not refused with {kind.__name__}: {arguments} {named}")


assert vault.is_authenticated() and vault.sys.is_initialized() and not vault.sys.is_sealed()
assert vault.sys.read_health_status(method="GET")["sealed"] is False
assert vault.sys.read_health_status(method="HEAD").status_code == 200
assert vault.lookup_token()["data"]["display_name"] == "dev"
assert "transit/" in vault.sys.list_mounted_secrets_engines()["data"]
assert "update" in vault.sys.get_capabilities(["transit/encrypt/py"])["data"]["capabilities"]

# A key that encrypts.
refused(exceptions.InvalidPath, transit.read_key, name="py")
transit.create_key(name="py")
plain = os.urandom(100)
sealed = transit.encrypt_data(name="py", plaintext=text(plain))["data"]["ciphertext"]
assert base64.b64decode(transit.decrypt_data(name="py", ciphertext=sealed)["data"]["plaintext"]) == plain
e = refused(exceptions.InvalidRequest, transit.decrypt_data, name="py", ciphertext="vault:v1:AAAA")
assert e.errors[0] == "cipher: message authentication failed", e.errors
transit.rotate_key(name="py")
moved = transit.rewrap_data(name="py", ciphertext=sealed)["data"]["ciphertext"]
assert moved.startswith("vault:v2:"), moved
batch = [{"plaintext": text(b"a")}, {"plaintext": text(b"b")}]
results = transit.encrypt_data(name="py", plaintext="", batch_input=batch)["data"]["batch_results"]
assert len(results) == 2 and all(r["ciphertext"].startswith("vault:v2:") for r in results), results
assert transit.read_key(name="py")["data"]["latest_version"] == 2
assert transit.list_keys()["data"]["keys"] == ["py"]

# Data keys, random bytes, digests.
data = transit.generate_data_key(name="py", key_type="plaintext", bits=512)["data"]
assert len(base64.b64decode(data["plaintext"])) == 64
assert transit.decrypt_data(name="py", ciphertext=data["ciphertext"])["data"]["plaintext"] == data["plaintext"]
assert "plaintext" not in transit.generate_data_key(name="py", key_type="wrapped")["data"]
assert len(bytes.fromhex(transit.generate_random_bytes(n_bytes=48, output_format="hex")["data"]["random_bytes"])) == 48
assert transit.hash_data(hash_input=text(b"message"), algorithm="sha2-512")["data"]["sum"] == hashlib.sha512(b"message").hexdigest()

# MACs: once and again.
vault.write("transit/keys/py-mac", type="hmac")
mac = transit.generate_hmac(name="py-mac", hash_input=text(b"message"), algorithm="sha2-256")["data"]["hmac"]
assert transit.verify_signed_data(name="py-mac", hash_input=text(b"message"), hmac=mac)["data"]["valid"] is True
assert transit.verify_signed_data(name="py-mac", hash_input=text(b"other"), hmac=mac)["data"]["valid"] is False

# Signatures.
transit.create_key(name="py-sign", key_type="ed25519")
signature = transit.sign_data(name="py-sign", hash_input=text(b"message"))["data"]["signature"]
assert transit.verify_signed_data(name="py-sign", hash_input=text(b"message"), signature=signature)["data"]["valid"] is True
assert transit.verify_signed_data(name="py-sign", hash_input=text(b"other"), signature=signature)["data"]["valid"] is False

# What may not be deleted is not; what may is.
refused(exceptions.InvalidRequest, transit.delete_key, name="py")
transit.update_key_configuration(name="py", deletion_allowed=True)
transit.delete_key(name="py")
refused(exceptions.InvalidRequest, transit.encrypt_data, name="py", plaintext="")

# A token of its own, until it is revoked.
made = vault.auth.token.create(policies=["user"], ttl="1h")["auth"]
other = hvac.Client(token=made["client_token"])
assert "user" in other.lookup_token()["data"]["policies"]
refused(exceptions.Forbidden, other.secrets.transit.create_key, name="theirs")
vault.auth.token.revoke_accessor(made["accessor"])
refused(exceptions.Forbidden, other.lookup_token)
assert not other.is_authenticated()

print("ok")
