// node-vault as a program uses it whose environment was set from dev.env. It fails with what was not as it should be.
import assert from "node:assert/strict";
import { createPublicKey, randomBytes, verify } from "node:crypto";
import client from "node-vault";

const vault = client(); // VAULT_ADDR and VAULT_TOKEN
const text = (b) => Buffer.from(b).toString("base64");

const health = await vault.health();
assert.equal(health.initialized, true);
assert.equal(health.sealed, false);
assert.equal((await vault.status()).sealed, false);
assert.equal((await vault.tokenLookupSelf()).data.display_name, "dev");
assert("transit/" in (await vault.mounts()));

// A key that encrypts; a read of one that is not there is a refusal of status 404 without a text.
const name = `js-${randomBytes(4).toString("hex")}`;
await assert.rejects(vault.transitReadKey({ name }), (e) => e.response.statusCode === 404 && e.message === "Status 404");
await vault.transitCreateKey({ name, type: "aes256-gcm96" });
const plaintext = text(randomBytes(100));
const { data: sealed } = await vault.encryptData({ name, plaintext });
assert.match(sealed.ciphertext, /^vault:v1:/);
assert.equal((await vault.decryptData({ name, ciphertext: sealed.ciphertext })).data.plaintext, plaintext);
await assert.rejects(vault.decryptData({ name, ciphertext: "vault:v1:AAAA" }), (e) => e.response.statusCode === 400 && /message authentication failed/.test(e.message));

// A batch, and the ciphertexts' move to a new version.
const many = [..."abc"].map((c) => ({ plaintext: text(c), reference: c }));
const { data: { batch_results: all } } = await vault.encryptData({ name, batch_input: many });
assert.deepEqual(all.map((r) => r.reference), ["a", "b", "c"]);
await vault.write(`transit/keys/${name}/rotate`, {});
const { data: moved } = await vault.rewrapData({ name, ciphertext: all[1].ciphertext });
assert.match(moved.ciphertext, /^vault:v2:/);
assert.equal((await vault.decryptData({ name, ciphertext: moved.ciphertext })).data.plaintext, text("b"));
assert.equal((await vault.transitReadKey({ name })).data.latest_version, 2);
assert((await vault.transitListKeys()).data.keys.includes(name));

// A signature that Node's own cryptography verifies.
await vault.transitCreateKey({ name: `${name}-s`, type: "ecdsa-p256" });
const message = randomBytes(1000);
const { data: { signature } } = await vault.write(`transit/sign/${name}-s`, { input: text(message) });
const { data: { keys } } = await vault.transitReadKey({ name: `${name}-s` });
assert(verify("sha256", message, createPublicKey(keys["1"].public_key), Buffer.from(signature.split(":")[2], "base64")));

// What may not be deleted is not; what may is.
await assert.rejects(vault.transitDeleteKey({ name }), /deletion is not allowed for this key/);
await vault.write(`transit/keys/${name}/config`, { deletion_allowed: true });
await vault.transitDeleteKey({ name });
await assert.rejects(vault.encryptData({ name, plaintext }), (e) => e.response.statusCode === 400);

// A token that is wrong.
await assert.rejects(client({ token: "s.wrong" }).tokenLookupSelf(), (e) => e.response.statusCode === 403 && e.message === "permission denied");

console.log("ok");
