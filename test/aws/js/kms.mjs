// @aws-sdk/client-kms as a program uses it whose environment was set from dev.env. It fails with what was not as it should be.
import assert from "node:assert/strict";
import { createHash, createPublicKey, randomBytes, verify } from "node:crypto";
import {
  CreateAliasCommand, CreateKeyCommand, DecryptCommand, DescribeKeyCommand, DisableKeyCommand, DisabledException, EncryptCommand,
  GenerateDataKeyCommand, GenerateDataKeyPairCommand, GetPublicKeyCommand, InvalidCiphertextException, KMSClient, ListKeysCommand, NotFoundException,
  ScheduleKeyDeletionCommand, SignCommand, VerifyCommand, VerifyMacCommand, GenerateMacCommand, KMSInvalidMacException, paginateListKeys,
} from "@aws-sdk/client-kms";

const kms = new KMSClient({});
const context = { order: "17", "Größe": "42 ✓" };
const bytes = (n) => randomBytes(n);

// A key under an alias, used by every name that it has.
const { KeyMetadata: key } = await kms.send(new CreateKeyCommand({ Description: "from JavaScript", Tags: [{ TagKey: "team", TagValue: "web" }] }));
assert.equal(key.KeyState, "Enabled");
assert(Math.abs(Date.now() - key.CreationDate) < 120_000, `created at ${key.CreationDate}`);
const alias = `alias/js/${key.KeyId}`;
await kms.send(new CreateAliasCommand({ AliasName: alias, TargetKeyId: key.KeyId }));
for (const name of [key.KeyId, key.Arn, alias, key.Arn.replace(/key\/.*/, alias)]) {
  const plain = bytes(100);
  const { CiphertextBlob, KeyId } = await kms.send(new EncryptCommand({ KeyId: name, Plaintext: plain, EncryptionContext: context }));
  assert.equal(KeyId, key.Arn);
  const { Plaintext } = await kms.send(new DecryptCommand({ CiphertextBlob, EncryptionContext: { "Größe": "42 ✓", order: "17" } }));
  assert.deepEqual(Buffer.from(Plaintext), plain);
  await assert.rejects(kms.send(new DecryptCommand({ CiphertextBlob, EncryptionContext: { order: "18" } })), InvalidCiphertextException);
}

// Data keys and pairs, whose public half Node's own cryptography reads.
const data = await kms.send(new GenerateDataKeyCommand({ KeyId: alias, KeySpec: "AES_256" }));
assert.deepEqual((await kms.send(new DecryptCommand({ CiphertextBlob: data.CiphertextBlob }))).Plaintext, data.Plaintext);
const pair = await kms.send(new GenerateDataKeyPairCommand({ KeyId: alias, KeyPairSpec: "ECC_NIST_EDWARDS25519" }));
assert.equal(createPublicKey({ key: Buffer.from(pair.PublicKey), format: "der", type: "spki" }).asymmetricKeyType, "ed25519");

// Signatures that Node's own cryptography verifies.
const { KeyMetadata: signer } = await kms.send(new CreateKeyCommand({ KeySpec: "ECC_NIST_P256", KeyUsage: "SIGN_VERIFY" }));
const message = bytes(1000);
const SigningAlgorithm = "ECDSA_SHA_256";
const { Signature } = await kms.send(new SignCommand({
  KeyId: signer.KeyId, Message: createHash("sha256").update(message).digest(), MessageType: "DIGEST", SigningAlgorithm,
}));
const { PublicKey } = await kms.send(new GetPublicKeyCommand({ KeyId: signer.KeyId }));
assert(verify("sha256", message, createPublicKey({ key: Buffer.from(PublicKey), format: "der", type: "spki" }), Signature));
const { SignatureValid } = await kms.send(new VerifyCommand({ KeyId: signer.KeyId, Message: message, MessageType: "RAW", Signature, SigningAlgorithm }));
assert.equal(SignatureValid, true);

// MACs: a wrong one is an error.
const { KeyMetadata: mac } = await kms.send(new CreateKeyCommand({ KeySpec: "HMAC_256", KeyUsage: "GENERATE_VERIFY_MAC" }));
const { Mac } = await kms.send(new GenerateMacCommand({ KeyId: mac.KeyId, Message: message, MacAlgorithm: "HMAC_SHA_256" }));
Mac[0] ^= 1;
await assert.rejects(kms.send(new VerifyMacCommand({ KeyId: mac.KeyId, Message: message, Mac, MacAlgorithm: "HMAC_SHA_256" })), KMSInvalidMacException);

// Errors have their class, their name, and the status of the wire.
await assert.rejects(kms.send(new DescribeKeyCommand({ KeyId: "alias/js/none" })), (e) =>
  e instanceof NotFoundException && e.name === "NotFoundException" && e.$metadata.httpStatusCode === 400 && e.$metadata.requestId.length === 32);
await kms.send(new DisableKeyCommand({ KeyId: signer.KeyId }));
await assert.rejects(kms.send(new SignCommand({ KeyId: signer.KeyId, Message: message, SigningAlgorithm })), DisabledException);

// Pages.
const seen = new Set();
for await (const page of paginateListKeys({ client: kms, pageSize: 2 }, {})) for (const k of page.Keys) seen.add(k.KeyId);
for (const k of [key, signer, mac]) assert(seen.has(k.KeyId), `${k.KeyId} is not listed`);

// A clock that is an hour late: the SDK reads the answer's Date, corrects itself and asks again.
const late = new KMSClient({ systemClockOffset: -3_600_000 });
assert((await late.send(new ListKeysCommand({ Limit: 1 }))).Keys.length === 1);
assert(Math.abs(late.config.systemClockOffset) < 60_000, `the clock is off by ${late.config.systemClockOffset} ms`);

await kms.send(new ScheduleKeyDeletionCommand({ KeyId: signer.KeyId, PendingWindowInDays: 7 }));
assert.equal((await kms.send(new DescribeKeyCommand({ KeyId: signer.KeyId }))).KeyMetadata.KeyState, "PendingDeletion");

console.log("ok");
