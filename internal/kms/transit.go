package kms

// Transit is what only keys of the Vault dialect have. The zero value is every other key's.
type Transit struct {
	Plain      bool `json:"plain,omitempty"`      // it makes ciphertexts in transit's own layout: it came from another Vault, or may go to one
	Derived    bool `json:"derived,omitempty"`    // what protects is derived from the material and the context of each request
	Convergent bool `json:"convergent,omitempty"` // a derived key whose nonces are made of the plaintext
	Backup     bool `json:"backup,omitempty"`     // its material may leave in the clear (allow_plaintext_backup)
	Mac        bool `json:"mac,omitempty"`        // a MAC key stands beside the material of each version; an HMAC key is its own
	Rotates    bool `json:"rotates,omitempty"`    // of an imported key: the server may make further versions (allow_rotation)
}

// MACKeyBytes is the length of a MAC key that stands beside a key.
const MACKeyBytes = 32

// CheckTransit is the gate at the birth of a key with properties of transit's: does its algorithm have them? CodeAlgorithm, CodeBadRequest.
func CheckTransit(a Algorithm, t Transit) error {
	f := a.Facts()
	switch {
	case t.Convergent && !t.Derived:
		return Errorf(CodeBadRequest, "convergent encryption requires derivation to be enabled")
	case t.Derived && len(f.Layouts) == 0 && a != Ed25519:
		return Errorf(CodeAlgorithm, "keys cannot be derived from an %s key: it takes a symmetric one, or ed25519", a)
	case t.Convergent && len(f.Layouts) == 0:
		return Errorf(CodeAlgorithm, "%s keys cannot encrypt convergently", a)
	}
	return nil
}

// CheckAlso is the gate at the birth of a key with a second purpose: only transit's RSA keys, which sign and encrypt, have one. 0 stands for none.
// CodeUsage, CodeProfile.
func CheckAlso(a Algorithm, u, also Usage, t Transit, p Profile) error {
	if also == 0 {
		return nil
	}
	if u == also || !t.Mac {
		return Errorf(CodeUsage, "a key serves one purpose: only RSA keys of the Vault dialect have two")
	}
	for _, each := range []Usage{u, also} {
		if _, err := CheckCreate(a, each, p); err != nil {
			return err
		}
	}
	return nil
}

// Settled is what a key of the Vault dialect has, once it is known what else it is: what may leave, came from elsewhere or is derived makes ciphertexts
// that other Vaults can read.
func (k *Key) Settled() Transit {
	t := k.Transit
	t.Plain = t.Plain || t.Derived || t.Mac && (t.Backup || k.Exportable || k.Origin == Imported)
	return t
}

// Layout is the scheme of transit's own ciphertexts of an algorithm: NoScheme where there is none.
func (a Algorithm) Layout(convergent bool) Scheme {
	f := a.Facts()
	if len(f.Layouts) == 0 {
		return NoScheme
	}
	if convergent {
		return f.Layouts[1].Scheme
	}
	return f.Layouts[0].Scheme
}

// IsLayout tells whether a scheme is one of transit's own layouts.
func (s Scheme) IsLayout() bool {
	return s >= SchemeTransitAESGCM && s <= SchemeConvergentXChaCha20Poly1305
}

// CheckLayout is the gate before a ciphertext in transit's own layout is made or opened: CheckScheme for what CheckScheme does not know, so that
// only who means the layout gets it. These ciphertexts name no key and commit to none.
func CheckLayout(a Algorithm, s Scheme, p Profile, protect bool) (Scheme, error) {
	return checkRow(a.Facts().Layouts, a, EncryptDecrypt, s, p, protect)
}

// CheckBeside is the gate before a MAC key that stands beside a key is used. NoScheme stands for HMAC-SHA-256.
func CheckBeside(a Algorithm, s Scheme, p Profile, protect bool) (Scheme, error) {
	if s == NoScheme {
		s = SchemeHMACSHA256
	}
	return checkRow(hmacSchemes, a, MAC, s, p, protect)
}
