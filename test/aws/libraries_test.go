package awstest

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	wrapping "github.com/hashicorp/go-kms-wrapping/v2"
	hashicorp "github.com/hashicorp/go-kms-wrapping/wrappers/awskms/v2"
	sigstore "github.com/sigstore/sigstore/pkg/signature/kms/aws"
	tinkkms "github.com/tink-crypto/tink-go-awskms/v3/integration/awskms"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	step "go.step.sm/crypto/kms/apiv1"
	stepkms "go.step.sm/crypto/kms/awskms"
	"gocloud.dev/secrets"
	_ "gocloud.dev/secrets/awskms" // its URLs
)

// symmetricKey is a new key's ARN, for clients that are given one.
func symmetricKey(t *testing.T) string {
	t.Helper()
	out, err := sdk(t).CreateKey(t.Context(), &kms.CreateKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	return *out.KeyMetadata.Arn
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // it never fails
	return b
}

// Tink wraps the keys of its keysets, and encrypts with data keys of its own under a remote key.
func TestTink(t *testing.T) {
	uri := "aws-kms://" + symmetricKey(t)
	client, err := tinkkms.NewClientWithOptions(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	remote, err := client.GetAEAD(uri)
	if err != nil {
		t.Fatal(err)
	}
	plain, about := random(1000), []byte("about the message")
	sealed, err := remote.Encrypt(plain, about)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := remote.Decrypt(sealed, about); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	if _, err := remote.Decrypt(sealed, []byte("about another")); err == nil {
		t.Error("decrypted with other associated data")
	}
	if _, err := remote.Decrypt(sealed, nil); err == nil {
		t.Error("decrypted without its associated data")
	}
	// What is large is encrypted here, under a key that is encrypted there.
	envelope := aead.NewKMSEnvelopeAEAD2(aead.AES256GCMKeyTemplate(), remote)
	large := random(1 << 20)
	if sealed, err = envelope.Encrypt(large, about); err != nil {
		t.Fatal(err)
	}
	if got, err := envelope.Decrypt(sealed, about); err != nil || !bytes.Equal(got, large) {
		t.Errorf("envelope: got %d bytes, %v", len(got), err)
	}
	// A keyset is kept encrypted.
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		t.Fatal(err)
	}
	var kept bytes.Buffer
	if err := handle.WriteWithAssociatedData(keyset.NewBinaryWriter(&kept), remote, about); err != nil {
		t.Fatal(err)
	}
	read, err := keyset.ReadWithAssociatedData(keyset.NewBinaryReader(&kept), remote, about)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := read.KeysetInfo().GetPrimaryKeyId(), handle.KeysetInfo().GetPrimaryKeyId(); got != want {
		t.Errorf("got keyset %d, want %d", got, want)
	}
}

// Go CDK opens a key by its URL, and decrypts without naming it.
func TestGoCDK(t *testing.T) {
	arn := symmetricKey(t)
	keeper := func(query string) *secrets.Keeper {
		t.Helper()
		k, err := secrets.OpenKeeper(t.Context(), "awskms:///"+arn+"?region="+home+query)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = k.Close() })
		return k
	}
	keepers := map[string]*secrets.Keeper{
		"environment": keeper(""), "endpoint": keeper("&endpoint=" + url.QueryEscape(dev.env["AWS_ENDPOINT_URL_KMS"])), "context": keeper("&context_order=17"),
	}
	plain := random(500)
	for name, k := range keepers {
		sealed, err := k.Encrypt(t.Context(), plain)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, err := k.Decrypt(t.Context(), sealed); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s: got %d bytes, %v", name, len(got), err)
		}
		for another, k := range keepers {
			if (name == "context") == (another == "context") {
				continue
			}
			var refusal *types.InvalidCiphertextException
			if _, err := k.Decrypt(t.Context(), sealed); err == nil || !k.ErrorAs(err, &refusal) {
				t.Errorf("%s opens what %s encrypted: %v", another, name, err)
			}
		}
	}
}

// The library by which Vault and OpenBao unseal themselves: the endpoint is in its configuration, since it does not know the variables.
func TestAutoUnseal(t *testing.T) {
	arn := symmetricKey(t)
	configured := func(key string) (*hashicorp.Wrapper, error) {
		w := hashicorp.NewWrapper()
		_, err := w.SetConfig(t.Context(), wrapping.WithConfigMap(map[string]string{
			"kms_key_id": key, "region": home, "endpoint": dev.env["AWS_ENDPOINT_URL_KMS"],
			"access_key": dev.env["AWS_ACCESS_KEY_ID"], "secret_key": dev.env["AWS_SECRET_ACCESS_KEY"],
		}))
		return w, err
	}
	w, err := configured(arn)
	if err != nil {
		t.Fatal(err)
	}
	root := random(32)
	kept, err := w.Encrypt(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	again, err := configured(arn) // after a restart
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.Decrypt(t.Context(), kept); err != nil || !bytes.Equal(got, root) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	if _, err := configured("alias/none"); err == nil || !strings.Contains(err.Error(), "NotFoundException") {
		t.Errorf("a key that is not there: %v", err)
	}
	kept.Ciphertext[len(kept.Ciphertext)-1] ^= 1
	if _, err := again.Decrypt(t.Context(), kept); err == nil {
		t.Error("decrypted what was tampered with")
	}
}

// step-ca's library makes a key, and signs certificates with it.
func TestStep(t *testing.T) {
	dev.setenv(t)
	k, err := stepkms.New(t.Context(), step.Options{Type: step.AmazonKMS, URI: "awskms:region=" + home})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close() //nolint:errcheck // it keeps nothing
	for _, algorithm := range []step.SignatureAlgorithm{step.ECDSAWithSHA256, step.ECDSAWithSHA384, step.SHA256WithRSAPSS} {
		made, err := k.CreateKey(&step.CreateKeyRequest{Name: "step-" + strings.ToLower(algorithm.String()), SignatureAlgorithm: algorithm, Bits: 2048})
		if err != nil {
			t.Fatalf("%s: %v", algorithm, err)
		}
		signer, err := k.CreateSigner(&made.CreateSignerRequest)
		if err != nil {
			t.Fatalf("%s: %v", algorithm, err)
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "an authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}
		if algorithm == step.SHA256WithRSAPSS {
			template.SignatureAlgorithm = x509.SHA256WithRSAPSS
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
		if err != nil {
			t.Fatalf("%s: %v", algorithm, err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatalf("%s: %v", algorithm, err)
		}
		if err := c.CheckSignatureFrom(c); err != nil {
			t.Errorf("%s: %v", algorithm, err)
		}
	}
}

// cosign's library: it asks for an alias, makes the key that is not there, signs, and verifies here and there. The endpoint is in the key's name.
func TestSigstore(t *testing.T) {
	dev.setenv(t)
	host := strings.TrimPrefix(dev.env["AWS_ENDPOINT_URL_KMS"], "https://")
	for spec, reference := range map[string]string{
		"ECC_NIST_P256": "awskms://" + host + "/alias/sigstore/p256", "RSA_3072": "awskms:///alias/sigstore/rsa",
	} {
		sv, err := sigstore.LoadSignerVerifier(t.Context(), reference)
		if err != nil {
			t.Fatal(err)
		}
		public, err := sv.CreateKey(t.Context(), spec)
		if err != nil {
			t.Fatalf("%s: %v", spec, err)
		}
		again, err := sv.CreateKey(t.Context(), spec) // it is there now
		if err != nil {
			t.Fatalf("%s: %v", spec, err)
		}
		if key, ok := public.(interface{ Equal(crypto.PublicKey) bool }); !ok || !key.Equal(again) {
			t.Errorf("%s: made twice", spec)
		}
		message := random(100)
		signature, err := sv.SignMessage(bytes.NewReader(message))
		if err != nil {
			t.Fatalf("%s: %v", spec, err)
		}
		if err := sv.VerifySignature(bytes.NewReader(signature), bytes.NewReader(message)); err != nil {
			t.Errorf("%s: %v", spec, err)
		}
		if err := sv.VerifySignature(bytes.NewReader(signature), bytes.NewReader(message[1:])); err == nil {
			t.Errorf("%s: another message verifies", spec)
		}
	}
}
