"""boto3 as a program uses it whose environment was set from dev.env. It fails with what was not as it should be."""

import hashlib
import os

import boto3
from botocore.exceptions import ClientError

# Debian's version is older than AWS_ENDPOINT_URL_KMS.
kms = boto3.client("kms", endpoint_url=os.environ["AWS_ENDPOINT_URL_KMS"])
sts = boto3.client("sts", endpoint_url=os.environ["AWS_ENDPOINT_URL_STS"])


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as e:
        assert e.response["Error"]["Code"] == code, e
        assert e.response["ResponseMetadata"]["HTTPStatusCode"] == 400, e
        return e
    raise AssertionError(f"not refused with {code}: {arguments}")


me = sts.get_caller_identity()
assert len(me["Account"]) == 12 and me["Account"] in me["Arn"], me

key = kms.create_key(Description="from Python", Tags=[{"TagKey": "team", "TagValue": "data"}])["KeyMetadata"]
assert key["AWSAccountId"] == me["Account"] and key["KeyState"] == "Enabled", key
context = {"order": "17", "Größe": "42 ✓"}
blob = kms.encrypt(KeyId=key["Arn"], Plaintext=b"hello", EncryptionContext=context)["CiphertextBlob"]
opened = kms.decrypt(CiphertextBlob=blob, EncryptionContext=dict(reversed(context.items())))
assert opened["Plaintext"] == b"hello" and opened["KeyId"] == key["Arn"], opened
refused("InvalidCiphertextException", kms.decrypt, CiphertextBlob=blob, EncryptionContext={"order": "18"})
try:
    kms.decrypt(CiphertextBlob=blob)
except kms.exceptions.InvalidCiphertextException:
    pass

data = kms.generate_data_key(KeyId=key["KeyId"], NumberOfBytes=64)
assert kms.decrypt(CiphertextBlob=data["CiphertextBlob"])["Plaintext"] == data["Plaintext"]

signer = kms.create_key(KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
digest = hashlib.sha384(b"message").digest()
signed = kms.sign(KeyId=signer, Message=digest, MessageType="DIGEST", SigningAlgorithm="RSASSA_PSS_SHA_384")
arguments = {"KeyId": signer, "MessageType": "RAW", "Signature": signed["Signature"], "SigningAlgorithm": "RSASSA_PSS_SHA_384"}
assert kms.verify(Message=b"message", **arguments)["SignatureValid"]
refused("KMSInvalidSignatureException", kms.verify, Message=b"another", **arguments)

kms.tag_resource(KeyId=key["KeyId"], Tags=[{"TagKey": f"t{i}", "TagValue": str(i)} for i in range(40)])
assert len(kms.list_resource_tags(KeyId=key["KeyId"], Limit=50)["Tags"]) == 41
for i in range(7):
    kms.create_alias(AliasName=f"alias/python/{key['KeyId']}/{i}", TargetKeyId=key["KeyId"])
pages = kms.get_paginator("list_aliases").paginate(KeyId=key["KeyId"], PaginationConfig={"PageSize": 3})
assert [len(p["Aliases"]) for p in pages] == [3, 3, 1]

kms.enable_key_rotation(KeyId=key["KeyId"])
assert kms.get_key_rotation_status(KeyId=key["KeyId"])["KeyRotationEnabled"]
e = refused("NotFoundException", kms.describe_key, KeyId="alias/python/none")
assert "is not found" in str(e), e
assert len(e.response["ResponseMetadata"]["RequestId"]) == 32, e

kms.schedule_key_deletion(KeyId=key["KeyId"], PendingWindowInDays=7)
refused("KMSInvalidStateException", kms.encrypt, KeyId=key["KeyId"], Plaintext=b"late")

print("ok")
