package vault

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// maxRequestPEM bounds a certificate request, in bytes of PEM.
const maxRequestPEM = 16 << 10

// hashNames are transit's names of the hashes that package x509 signs requests with.
var hashNames = map[crypto.Hash]string{crypto.SHA256: "sha2-256", crypto.SHA384: "sha2-384", crypto.SHA512: "sha2-512"}

// versionSigner is a version of a key, as package x509 wants what signs.
type versionSigner struct {
	public crypto.PublicKey
	sign   func(input []byte, h crypto.Hash) ([]byte, error)
}

func (s versionSigner) Public() crypto.PublicKey { return s.public }

// Sign signs a digest or, with an Ed25519 key, a message.
func (s versionSigner) Sign(_ io.Reader, input []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.sign(input, opts.HashFunc())
}

// CSR answers a PKCS #10 request (RFC 2986) for a version's public key, signed with it. Subject and names are those of the request that is given; its key and
// its signature count for nothing.
func (x *exchange) CSR(ctx context.Context) *fault {
	name := x.place.names[0]
	n, f := x.in.version("version")
	if f != nil {
		return f
	}
	template, f := x.requested()
	if f != nil {
		return f
	}
	out, err := x.engine.GetPublicKey(ctx, x.call, engine.PublicKeyInput{Key: x.place.ref(name), Version: n})
	if err != nil {
		f := faultOf(err)
		if kms.CodeOf(err) == kms.CodeAlgorithm {
			f.texts[0] = "key type does not support signing"
		}
		return noKey(f, http.StatusBadRequest, "key with provided name '"+clip(name)+"' not found")
	}
	public, err := x509.ParsePKIXPublicKey(out.DER)
	if err != nil { // of an algorithm that package x509 signs nothing with
		return newFault(http.StatusBadRequest, "certificate requests are not supported for keys of algorithm "+out.Algorithm.String())
	}
	var refused error // package x509 gives it back in its own words
	signer := versionSigner{public: public, sign: func(input []byte, h crypto.Hash) ([]byte, error) {
		how := signing{hash: hashNames[h], padding: "pkcs1v15"}
		made, err := x.engine.Sign(ctx, x.call, engine.SignInput{Key: kms.RefTo(out.Key), Version: out.Version, Choose: how.choose, Items: []engine.SignItem{{Message: input, Digested: h != 0}}})
		if err != nil {
			refused = err
			return nil, err
		}
		return made.Items[0].Signature, nil
	}}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, signer)
	switch {
	case refused != nil:
		return faultOf(refused)
	case err != nil:
		return newFault(http.StatusBadRequest, "could not create the certificate request", err.Error())
	}
	kind := typeOf(&kms.Key{Algorithm: out.Algorithm, Usage: out.Usage})
	x.e.open()
	x.e.text("csr", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})))
	x.e.text("name", name)
	x.e.text("type", kind.name)
	x.e.close()
	return nil
}

// requested is what a request that is given says of subject and names; without one nothing is said.
func (x *exchange) requested() (*x509.CertificateRequest, *fault) {
	text, f := x.in.text("csr")
	if f != nil {
		return nil, f
	}
	if text == "" {
		return &x509.CertificateRequest{}, nil
	}
	if len(text) > maxRequestPEM {
		return nil, newFault(http.StatusRequestEntityTooLarge, "the certificate request is too long")
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE REQUEST" && block.Type != "NEW CERTIFICATE REQUEST" {
		return nil, newFault(http.StatusBadRequest, "could not decode PEM certificate request")
	}
	given, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, newFault(http.StatusBadRequest, "could not parse the certificate request", err.Error())
	}
	return &x509.CertificateRequest{
		RawSubject: given.RawSubject, DNSNames: given.DNSNames, EmailAddresses: given.EmailAddresses, IPAddresses: given.IPAddresses, URIs: given.URIs,
	}, nil
}
