// The AWS Encryption SDK (@aws-crypto/client-node) with two keys of one server, its endpoint from the environment. It fails with what was not as it should be.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { CommitmentPolicy, KmsKeyringNode, buildClient } from "@aws-crypto/client-node";
import { CreateKeyCommand, DisableKeyCommand, KMSClient } from "@aws-sdk/client-kms";

const kms = new KMSClient({});
const made = await Promise.all([1, 2].map(() => kms.send(new CreateKeyCommand({}))));
const [generator, second] = made.map((m) => m.KeyMetadata.Arn);
const { encrypt, decrypt } = buildClient(CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT);
const encryptionContext = { stage: "test", purpose: "round trip" };

// A signed message of several frames, under a data key that each of the two keys wraps.
const plain = randomBytes(20_000);
const keyring = new KmsKeyringNode({ generatorKeyId: generator, keyIds: [second] });
const { result } = await encrypt(keyring, plain, { encryptionContext, frameLength: 4096 });
const { plaintext, messageHeader } = await decrypt(keyring, result);
assert.deepEqual(plaintext, plain);
for (const [name, value] of Object.entries(encryptionContext)) assert.equal(messageHeader.encryptionContext[name], value);
assert.equal(messageHeader.encryptedDataKeys.length, 2);

// Whoever has only the second key reads it too; and who asks no key in particular.
assert.deepEqual((await decrypt(new KmsKeyringNode({ keyIds: [second] }), result)).plaintext, plain);
const discovery = new KmsKeyringNode({ discovery: true, discoveryFilter: { accountIDs: [generator.split(":")[4]], partition: "aws" } });
assert.deepEqual((await decrypt(discovery, result)).plaintext, plain);

// A flipped bit, another key, a disabled one.
const bent = Buffer.from(result);
bent[bent.length - 200] ^= 1;
await assert.rejects(decrypt(keyring, bent));
const third = (await kms.send(new CreateKeyCommand({}))).KeyMetadata.Arn;
await assert.rejects(decrypt(new KmsKeyringNode({ keyIds: [third] }), result));
for (const KeyId of [generator, second]) await kms.send(new DisableKeyCommand({ KeyId }));
await assert.rejects(decrypt(keyring, result));

console.log("ok");
