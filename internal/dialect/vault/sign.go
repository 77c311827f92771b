package vault

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// signing is how a request wants its signatures.
type signing struct {
	hash      string // of transit's names; empty: the algorithm's own
	padding   string // of RSA: "pss" or "pkcs1v15"
	digested  bool
	salt      kms.Salt
	jws       bool // signatures as JSON Web Signatures have them (RFC 7515, RFC 7518 §3.4)
	algorithm kms.Algorithm
}

// hashes are the hash functions that schemes have.
var hashes = []string{"sha2-224", "sha2-256", "sha2-384", "sha2-512", "sha3-224", "sha3-256", "sha3-384", "sha3-512", "sha1", "none"}

// signing reads it.
func (x *exchange) signing() (*signing, *fault) {
	s := &signing{hash: x.place.names[1]}
	for _, m := range []string{"hash_algorithm", "algorithm"} {
		t, f := x.in.text(m)
		if f != nil {
			return nil, f
		}
		if s.hash == "" {
			s.hash = t
		}
	}
	if s.hash != "" && !slices.Contains(hashes, s.hash) {
		return nil, newFault(http.StatusBadRequest, `invalid hash algorithm "`+clip(s.hash)+`"`)
	}
	var f *fault
	if s.padding, f = x.in.text("signature_algorithm"); f != nil {
		return nil, f
	}
	if s.padding != "" && s.padding != "pss" && s.padding != "pkcs1v15" {
		return nil, newFault(http.StatusBadRequest, `invalid signature algorithm "`+clip(s.padding)+`"`)
	}
	marshaling, f := x.in.text("marshaling_algorithm")
	if f != nil {
		return nil, f
	}
	switch marshaling {
	case "jws":
		s.jws = true
	case "", "asn1":
	default:
		return nil, newFault(http.StatusBadRequest, `invalid marshaling type "`+clip(marshaling)+`"`)
	}
	if s.salt, f = x.salt(); f != nil {
		return nil, f
	}
	if s.digested, f = x.in.yes("prehashed"); f != nil {
		return nil, f
	}
	if s.hash == "none" && (!s.digested || s.padding != "pkcs1v15") {
		return nil, newFault(http.StatusBadRequest, "hash_algorithm=none requires both prehashed=true and signature_algorithm=pkcs1v15")
	}
	return s, nil
}

// schemesOf are the schemes that transit's words mean, by kind of key.
var schemesOf = map[string]kms.Scheme{
	"ecdsa sha1": kms.SchemeECDSASHA1, "ecdsa sha2-224": kms.SchemeECDSASHA224, "ecdsa sha2-256": kms.SchemeECDSASHA256, "ecdsa sha2-384": kms.SchemeECDSASHA384, "ecdsa sha2-512": kms.SchemeECDSASHA512, "ecdsa sha3-224": kms.SchemeECDSASHA3x224, "ecdsa sha3-256": kms.SchemeECDSASHA3x256, "ecdsa sha3-384": kms.SchemeECDSASHA3x384, "ecdsa sha3-512": kms.SchemeECDSASHA3x512,
	"pss sha1": kms.SchemePSSSHA1, "pss sha2-224": kms.SchemePSSSHA224, "pss sha2-256": kms.SchemePSSSHA256, "pss sha2-384": kms.SchemePSSSHA384, "pss sha2-512": kms.SchemePSSSHA512, "pss sha3-224": kms.SchemePSSSHA3x224, "pss sha3-256": kms.SchemePSSSHA3x256, "pss sha3-384": kms.SchemePSSSHA3x384, "pss sha3-512": kms.SchemePSSSHA3x512,
	"pkcs1v15 sha1": kms.SchemePKCS1SHA1, "pkcs1v15 sha2-224": kms.SchemePKCS1SHA224, "pkcs1v15 sha2-256": kms.SchemePKCS1SHA256, "pkcs1v15 sha2-384": kms.SchemePKCS1SHA384, "pkcs1v15 sha2-512": kms.SchemePKCS1SHA512, "pkcs1v15 sha3-224": kms.SchemePKCS1SHA3x224, "pkcs1v15 sha3-256": kms.SchemePKCS1SHA3x256, "pkcs1v15 sha3-384": kms.SchemePKCS1SHA3x384, "pkcs1v15 sha3-512": kms.SchemePKCS1SHA3x512,
	"pkcs1v15 none": kms.SchemePKCS1None,
}

// salt reads the length of the salt of RSA-PSS: "auto", which nothing stands for too, "hash" or a number, of which 0 is "auto".
func (x *exchange) salt() (kms.Salt, *fault) {
	t, f := x.in.text("salt_length")
	switch {
	case f != nil:
		return 0, f
	case t == "" || t == "auto":
		return kms.SaltAny, nil
	case t == "hash":
		return kms.SaltHash, nil
	}
	n, err := strconv.ParseUint(t, 10, 16)
	switch {
	case err != nil:
		return 0, newFault(http.StatusBadRequest, "unable to decode salt length: "+clip(t))
	case n == 0:
		return kms.SaltAny, nil
	}
	return kms.Salt(n), nil
}

// choose finds the scheme for a key's algorithm.
func (s *signing) choose(a kms.Algorithm) (kms.Scheme, error) {
	s.algorithm = a
	name := a.String()
	var kind string
	switch {
	case strings.HasPrefix(name, "ecdsa-"):
		kind = "ecdsa"
	case strings.HasPrefix(name, "rsa-"):
		if kind = s.padding; kind == "" {
			kind = "pss"
		}
	case a == kms.Ed25519 && s.digested:
		return kms.SchemeEd25519ph, nil
	default: // one hash, or none
		return kms.NoScheme, nil
	}
	hash := s.hash
	if hash == "" {
		hash = "sha2-256"
	}
	if found, ok := schemesOf[kind+" "+hash]; ok {
		return found, nil
	}
	return 0, kms.Errorf(kms.CodeAlgorithm, "a key of algorithm %s does not sign with %s", name, hash)
}

// Sign signs.
func (x *exchange) Sign(ctx context.Context) *fault {
	how, f := x.signing()
	if f != nil {
		return f
	}
	b, f := x.batch()
	if f != nil {
		return f
	}
	b.missing = "signing key not found"
	in := make([]engine.SignItem, len(b.items))
	version, f := x.in.version("key_version")
	if f != nil {
		return f
	}
	for i := range b.items {
		it := &b.items[i]
		in[i] = engine.SignItem{Message: it.blob(x, "input", "missing input"), Digested: how.digested, Derivation: it.derivation(x, b)}
		it.version = version
	}
	if f := b.contexts(); f != nil {
		return f
	}
	return b.run(x, func(n uint32, which []int) ([]*kms.Error, error) {
		out, err := x.engine.Sign(ctx, x.call, engine.SignInput{Key: b.key, Version: n, Choose: how.choose, Salt: how.salt, Items: pick(in, which)})
		errs := make([]*kms.Error, len(out.Items))
		for i, o := range out.Items {
			b.items[which[i]].made, b.items[which[i]].version, errs[i] = o.Signature, out.Version, o.Err
			b.items[which[i]].public = o.Public
		}
		return errs, err
	}, func(it *item) {
		if how.jws {
			x.e.jws("signature", it.version, how.raw(it.made))
		} else {
			x.e.versioned("signature", it.version, it.made)
		}
		x.e.number("key_version", int64(it.version))
		if it.public != nil {
			x.e.text("public_key", publicKey(keyType{algorithm: how.algorithm}, it.public))
		}
	})
}

// Verify tells whether signatures, or MACs, are right.
func (x *exchange) Verify(ctx context.Context) *fault {
	how, f := x.signing()
	if f != nil {
		return f
	}
	b, f := x.batch()
	if f != nil {
		return f
	}
	b.missing = "signature verification key not found"
	macs := 0
	in := make([]engine.VerifyItem, len(b.items))
	for i := range b.items {
		it := &b.items[i]
		in[i] = engine.VerifyItem{Message: it.blob(x, "input", "missing input"), Digested: how.digested, Derivation: it.derivation(x, b)}
		what := "signature"
		if it.in.has("hmac") {
			what = "hmac"
			macs++
		}
		var f *fault
		if how.jws && what == "signature" {
			it.version, in[i].Signature, f = x.jws(it.in, what)
		} else {
			it.version, in[i].Signature, f = x.versioned(it.in, what, what)
		}
		it.fail(f)
		if in[i].Signature == nil && it.fault == nil {
			it.fail(newFault(http.StatusBadRequest, "missing signature or hmac to verify"))
		}
	}
	if f := b.contexts(); f != nil {
		return f
	}
	if macs != 0 && macs != len(b.items) {
		return newFault(http.StatusBadRequest, "elements of batch_input must all provide either 'signature' or 'hmac'")
	}
	valid := make([]bool, len(b.items))
	return b.run(x, func(n uint32, which []int) ([]*kms.Error, error) {
		var out engine.VerifyOutput
		var err error
		if macs > 0 {
			out, err = x.verifyMACs(ctx, b.key, n, how, pick(in, which))
		} else {
			out, err = x.verify(ctx, b.key, n, how, pick(in, which))
		}
		if wrong(err) && len(which) == 1 { // the answer to the question, and no failure
			return nil, nil
		}
		errs := make([]*kms.Error, len(out.Items))
		for i, o := range out.Items {
			valid[which[i]] = o.Err == nil
			if o.Err != nil && !wrong(o.Err) {
				errs[i] = o.Err
			}
		}
		return errs, err
	}, func(it *item) { x.e.yes("valid", valid[it.at]) })
}

// verify verifies signatures. What those of a JSON Web Signature are in ASN.1 is known with the algorithm: r and s of one are as long as a signature of another.
func (x *exchange) verify(ctx context.Context, key kms.Ref, version uint32, how *signing, all []engine.VerifyItem) (engine.VerifyOutput, error) {
	choose := func(a kms.Algorithm) (kms.Scheme, error) {
		for i := range all {
			if how.jws {
				all[i].Signature = der(a, all[i].Signature)
			}
		}
		return how.choose(a)
	}
	return x.engine.Verify(ctx, x.call, engine.VerifyInput{Key: key, Version: version, Choose: choose, Salt: how.salt, Items: all})
}

func wrong(err error) bool {
	switch kms.CodeOf(err) {
	case kms.CodeBadSignature, kms.CodeBadMAC:
		return true
	}
	return false
}

// macSchemes are the schemes of MACs by transit's names of their hashes.
var macSchemes = map[string]kms.Scheme{"": kms.NoScheme, "sha2-224": kms.SchemeHMACSHA224, "sha2-256": kms.SchemeHMACSHA256, "sha2-384": kms.SchemeHMACSHA384, "sha2-512": kms.SchemeHMACSHA512,
	"sha3-224": kms.SchemeHMACSHA3x224, "sha3-256": kms.SchemeHMACSHA3x256, "sha3-384": kms.SchemeHMACSHA3x384, "sha3-512": kms.SchemeHMACSHA3x512}

func macScheme(hash string) (kms.Scheme, *fault) {
	s, ok := macSchemes[hash]
	if !ok {
		return 0, newFault(http.StatusBadRequest, `unsupported algorithm "`+clip(hash)+`"`)
	}
	return s, nil
}

func (x *exchange) verifyMACs(ctx context.Context, key kms.Ref, version uint32, how *signing, all []engine.VerifyItem) (engine.VerifyOutput, error) {
	s, f := macScheme(how.hash)
	if f != nil {
		return engine.VerifyOutput{}, f
	}
	in := make([]engine.VerifyMACItem, len(all))
	for i := range all {
		in[i] = engine.VerifyMACItem{Message: all[i].Message, MAC: all[i].Signature}
	}
	return x.engine.VerifyMAC(ctx, x.call, engine.VerifyMACInput{Key: key, Version: version, Scheme: s, Items: in})
}

// MAC makes MACs.
func (x *exchange) MAC(ctx context.Context) *fault {
	hash, f := x.in.text("algorithm")
	if f != nil {
		return f
	}
	if x.place.names[1] != "" {
		hash = x.place.names[1]
	}
	scheme, f := macScheme(hash)
	if f != nil {
		return f
	}
	version, f := x.in.version("key_version")
	if f != nil {
		return f
	}
	b, f := x.batch()
	if f != nil {
		return f
	}
	in := make([]engine.MACItem, len(b.items))
	for i := range b.items {
		it := &b.items[i]
		in[i].Message = it.blob(x, "input", "missing input for HMAC")
		it.version = version
	}
	return b.run(x, func(n uint32, which []int) ([]*kms.Error, error) {
		out, err := x.engine.GenerateMAC(ctx, x.call, engine.MACInput{Key: b.key, Version: n, Scheme: scheme, Items: pick(in, which)})
		errs := make([]*kms.Error, len(out.Items))
		for i, o := range out.Items {
			b.items[which[i]].made, b.items[which[i]].version, errs[i] = o.MAC, out.Version, o.Err
		}
		return errs, err
	}, func(it *item) {
		x.e.versioned("hmac", it.version, it.made)
	})
}
