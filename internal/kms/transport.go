package kms

// Transport is how key material is wrapped on its way between systems.
type Transport uint8

// The transports. The numbers are part of the record format: append only.
const (
	OAEPSHA256         Transport = iota + 1
	OAEPSHA1                     // where the other side knows nothing better
	RSAAESSHA256                 // an ephemeral AES key under RSA-OAEP, the material under that key
	RSAAESSHA1                   // the same with SHA-1
	HPKEMLKEM768X25519           // hybrid: ML-KEM-768 and X25519
	HPKEP256                     // the same with a curve that more libraries know
	TransportKWP                 // under a wrapping key that both sides have
	TransportKW
	RSAAESSHA224 // as RSAAESSHA256, with the other hashes that clients of transit may name
	RSAAESSHA384
	RSAAESSHA512

	transportEnd
)

// TransportFacts is one row of the transport table.
type TransportFacts struct {
	Name  string
	Keys  []Algorithm // of the key that wraps; the first is the default
	Leave [2]Leave    // by profile
	Info  bool        // is bound to information that both sides know
	Small bool        // takes what fits into one RSA block only: symmetric keys
	Why   string      // the clause
}

var (
	rsaTransportKeys = []Algorithm{RSA3072, RSA4096, RSA2048}
	wrapKeys         = []Algorithm{AES256Wrap, AES192Wrap, AES128Wrap}
	everywhere       = [2]Leave{Full, Full}
	outsideFIPS      = [2]Leave{ProfileDefault: Full, ProfileFIPS: Refused}
)

var transports = [...]TransportFacts{
	OAEPSHA256:   {Name: "rsa-oaep-sha-256", Keys: rsaTransportKeys, Leave: everywhere, Small: true, Why: "SP 800-56B rev. 2 §9"},
	OAEPSHA1:     {Name: "rsa-oaep-sha-1", Keys: rsaTransportKeys, Leave: outsideFIPS, Small: true, Why: "RFC 8017 §7.1 with SHA-1, which the FIPS 140-3 module refuses"},
	RSAAESSHA256: {Name: "rsa-aes-key-wrap-sha-256", Keys: rsaTransportKeys, Leave: everywhere, Why: "PKCS #11 v3.1 §6.1.17"},
	RSAAESSHA1:   {Name: "rsa-aes-key-wrap-sha-1", Keys: rsaTransportKeys, Leave: outsideFIPS, Why: "PKCS #11 v3.1 §6.1.17 with SHA-1, which the FIPS 140-3 module refuses"},
	HPKEMLKEM768X25519: {Name: "hpke-mlkem768-x25519", Keys: []Algorithm{XWing}, Leave: outsideFIPS, Info: true,
		Why: "RFC 9180 with MLKEM768-X25519; the FIPS 140-3 module refuses X25519"},
	HPKEP256: {Name: "hpke-p256", Keys: []Algorithm{ECDHP256}, Leave: outsideFIPS, Info: true,
		Why: "RFC 9180 with DHKEM(P-256, HKDF-SHA256), whose nonces count up; the FIPS 140-3 module refuses AES-GCM with nonces that it did not make"},
	TransportKWP: {Name: "aes-kwp", Keys: wrapKeys, Leave: everywhere, Why: "SP 800-38F §6.3"},
	TransportKW:  {Name: "aes-kw", Keys: wrapKeys, Leave: everywhere, Why: "SP 800-38F §6.2"},
	RSAAESSHA224: {Name: "rsa-aes-key-wrap-sha-224", Keys: rsaTransportKeys, Leave: everywhere, Why: "PKCS #11 v3.1 §6.1.17 with SHA-224"},
	RSAAESSHA384: {Name: "rsa-aes-key-wrap-sha-384", Keys: rsaTransportKeys, Leave: everywhere, Why: "PKCS #11 v3.1 §6.1.17 with SHA-384"},
	RSAAESSHA512: {Name: "rsa-aes-key-wrap-sha-512", Keys: rsaTransportKeys, Leave: everywhere, Why: "PKCS #11 v3.1 §6.1.17 with SHA-512"},
}

// AllTransports lists every transport.
func AllTransports() []Transport {
	var all []Transport
	for t := OAEPSHA256; t < transportEnd; t++ {
		all = append(all, t)
	}
	return all
}

// Facts is the transport's row. The zero row belongs to an unknown one.
func (t Transport) Facts() *TransportFacts {
	if t < transportEnd {
		return &transports[t]
	}
	return &transports[0]
}

func (t Transport) String() string {
	if n := t.Facts().Name; n != "" {
		return n
	}
	return "unknown-transport"
}

// Nested tells whether an ephemeral AES key lies between an RSA key and the material.
func (t Transport) Nested() bool {
	switch t {
	case RSAAESSHA256, RSAAESSHA1, RSAAESSHA224, RSAAESSHA384, RSAAESSHA512:
		return true
	}
	return false
}

// Symmetric tells whether both sides hold the key that wraps.
func (t Transport) Symmetric() bool { return t == TransportKWP || t == TransportKW }

// ParseTransport reads the name of a transport; the empty string is 0 ("the profile's default").
func ParseTransport(s string) (Transport, error) {
	if s == "" {
		return 0, nil
	}
	for t := OAEPSHA256; t < transportEnd; t++ {
		if transports[t].Name == s {
			return t, nil
		}
	}
	return 0, Errorf(CodeBadRequest, "%q is not a transport of key material", clip(s))
}

// DefaultTransport is the strongest that a profile permits.
func DefaultTransport(p Profile) Transport {
	if p == ProfileFIPS {
		return RSAAESSHA256
	}
	return HPKEMLKEM768X25519
}

// CheckTransport is the gate before material is wrapped for, or unwrapped from, another system: may this transport, with a wrapping
// key of this algorithm, carry material of that one under this profile? CodeBadRequest, CodeAlgorithm, CodeProfile.
func CheckTransport(t Transport, by, material Algorithm, p Profile) error {
	f := t.Facts()
	if f.Name == "" {
		return Errorf(CodeBadRequest, "there is no such transport of key material")
	}
	if f.Leave[p] != Full {
		return Errorf(CodeProfile, "the %s profile refuses %s (%s)", p, t, f.Why)
	}
	if f.Small && material.Facts().Asymmetric {
		e := Errorf(CodeAlgorithm, "%s takes what fits into one block of RSA, and private keys do not", t)
		e.Next = "use " + RSAAESSHA256.String()
		return e
	}
	for _, a := range f.Keys {
		if a != by {
			continue
		}
		if t.Symmetric() && by.Facts().Strength < material.Facts().Strength {
			return Errorf(CodeAlgorithm, "a wrapping key of %d bits would be weaker than the %s key that it wraps (SP 800-57 part 1 rev. 5 §5.6.2)", by.Facts().Bits, material)
		}
		return nil
	}
	return Errorf(CodeAlgorithm, "%s does not wrap under a key of %s", t, by)
}
