package soft

import (
	"bytes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/mlkem"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/cloudflare/circl/sign/mldsa/mldsa87"
	"github.com/cloudflare/circl/sign/slhdsa"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/mode"
)

// Known-answer tests of what is not in Go's FIPS module, which tests itself: before the first key is made or used, each implementation does once what a published vector says
// (FIPS 140-3 IG 10.3.A). Signatures and public keys are compared by their SHA-256. One parameter set stands for others of the same code where one takes long: SLH-DSA-128s
// signs in a third of a second. All together they take some tens of
// milliseconds, SLH-DSA nearly all of it.

// A knownAnswer is a test and the algorithms that need it: it runs if the profile permits one of them.
type knownAnswer struct {
	name string
	of   []kms.Algorithm
	do   func() error
}

// These are of the program and the machine, not of a provider: they run once in a process for each profile.
var (
	knownDefault = sync.OnceValue(func() error { return provenAnswers(kms.ProfileDefault) })
	knownFIPS    = sync.OnceValue(func() error { return provenAnswers(kms.ProfileFIPS) })
)

// knownAnswersOf runs the tests of a profile, or tells how they ended: CodeSelfTest.
func knownAnswersOf(p kms.Profile) error {
	if p == kms.ProfileFIPS {
		return knownFIPS()
	}
	return knownDefault()
}

func provenAnswers(p kms.Profile) error { return prove(p, knownAnswers()) }

func prove(p kms.Profile, tests []knownAnswer) error {
	for i := range tests {
		t := &tests[i]
		if !t.under(p) {
			continue
		}
		if err := t.do(); err != nil {
			return kms.Errorf(kms.CodeSelfTest, "%s does not give its known answer: this program or machine cannot be trusted with keys", t.name).Because(err)
		}
	}
	return nil
}

// under tells whether a profile permits an algorithm that needs the test.
func (t *knownAnswer) under(p kms.Profile) bool {
	return slices.ContainsFunc(t.of, func(a kms.Algorithm) bool {
		_, err := kms.CheckCreate(a, a.Usages()[0], p)
		return err == nil
	})
}

func knownAnswers() []knownAnswer {
	return []knownAnswer{
		{"AES-CMAC", []kms.Algorithm{kms.AES128CMAC, kms.AES256CMAC}, knownCMAC},
		{"AES key wrapping", []kms.Algorithm{kms.AES128Wrap, kms.AES192Wrap, kms.AES256Wrap}, knownWrap},
		{"AES-SIV", []kms.Algorithm{kms.AES256SIV}, knownSIV},
		{"AES-FF1", []kms.Algorithm{kms.AES128FF1, kms.AES256FF1}, knownFF1},
		{"ChaCha20-Poly1305", []kms.Algorithm{kms.ChaCha20Poly1305}, knownChaCha},
		{"XChaCha20-Poly1305", []kms.Algorithm{kms.XChaCha20Poly1305}, knownXChaCha},
		{"X25519", []kms.Algorithm{kms.X25519}, knownX25519},
		{"ECDSA with secp256k1", []kms.Algorithm{kms.ECDSASecp256k1}, knownKoblitz},
		{"ML-DSA", []kms.Algorithm{kms.MLDSA44, kms.MLDSA65, kms.MLDSA87}, knownLattice},
		{"SLH-DSA", []kms.Algorithm{kms.SLHDSASHA2128s, kms.SLHDSASHA2128f}, knownHash},
		{"ML-KEM-512", []kms.Algorithm{kms.MLKEM512}, knownKEM512},
		{"ML-KEM of two implementations", []kms.Algorithm{kms.XWing}, knownKEMs}, // the FIPS profile uses the module's alone
		{"X-Wing", []kms.Algorithm{kms.XWing}, knownXWing},
	}
}

var errAnswer = errors.New("the answer is another")

// unhex reads a constant of this file.
func unhex(s string) []byte {
	b, _ := hex.DecodeString(s)
	return b
}

func sameAs(got []byte, err error, want string) error {
	if err != nil {
		return err
	}
	if w := unhex(want); len(w) == 0 || !bytes.Equal(got, w) {
		return fmt.Errorf("got %x, want %s: %w", got, want, errAnswer)
	}
	return nil
}

func sumIs(got []byte, err error, want string) error {
	sum := sha256.Sum256(got)
	return sameAs(sum[:], err, want)
}

// knownCMAC: SP 800-38B, example 2.
func knownCMAC() error {
	tag, err := mode.CMAC(unhex("2b7e151628aed2a6abf7158809cf4f3c"), unhex("6bc1bee22e409f96e93d7e117393172a"))
	return sameAs(tag[:], err, "070a16b46b4d4144f79bdd9dd04a287c")
}

// knownWrap: RFC 3394 §4.1, RFC 5649 §6.
func knownWrap() error {
	kek, material, wrapped := unhex("000102030405060708090a0b0c0d0e0f"), "00112233445566778899aabbccddeeff", "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5"
	got, err := mode.WrapKW(kek, nil, unhex(material))
	if err := sameAs(got, err, wrapped); err != nil {
		return err
	}
	got, err = mode.UnwrapKW(kek, nil, unhex(wrapped))
	if err := sameAs(got, err, material); err != nil {
		return err
	}
	kek, material, wrapped = unhex("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8"), "466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f"
	got, err = mode.WrapKWP(kek, nil, unhex(material))
	if err := sameAs(got, err, wrapped); err != nil {
		return err
	}
	got, err = mode.UnwrapKWP(kek, nil, unhex(wrapped))
	return sameAs(got, err, material)
}

// knownSIV: RFC 5297 §A.1.
func knownSIV() error {
	key, aad := unhex("fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"), unhex("101112131415161718191a1b1c1d1e1f2021222324252627")
	const text, sealed = "112233445566778899aabbccddee", "85632d07c6e8f37f950acd320a2ecc9340c02b9690c4dc04daef7f6afe5c"
	got, err := mode.SealSIV(key, nil, unhex(text), aad)
	if err := sameAs(got, err, sealed); err != nil {
		return err
	}
	got, err = mode.OpenSIV(key, nil, unhex(sealed), aad)
	return sameAs(got, err, text)
}

// knownFF1: sample 1 that NIST publishes with SP 800-38G.
func knownFF1() error {
	key := unhex("2b7e151628aed2a6abf7158809cf4f3c")
	text, sealed := []uint16{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, []uint16{2, 4, 3, 3, 4, 7, 7, 4, 8, 4}
	got, err := mode.FF1(key, nil, 10, nil, text, false)
	if err != nil || !slices.Equal(got, sealed) {
		return errors.Join(err, errAnswer)
	}
	got, err = mode.FF1(key, nil, 10, nil, sealed, true)
	if err != nil || !slices.Equal(got, text) {
		return errors.Join(err, errAnswer)
	}
	return nil
}

// The text of RFC 8439 §2.8.2 and draft-irtf-cfrg-xchacha-03 §A.3.1, with key and associated data.
const (
	sunscreen    = "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it."
	sunscreenKey = "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f"
	sunscreenAAD = "50515253c0c1c2c3c4c5c6c7"
)

func knownChaCha() error {
	return knownAEAD(chacha20poly1305.New, "070000004041424344454647", "d31a8d34648e60db7b86afbc53ef7ec2", "1ae10b594f09e26a7e902ecbd0600691")
}

func knownXChaCha() error {
	return knownAEAD(chacha20poly1305.NewX, "404142434445464748494a4b4c4d4e4f5051525354555657", "bd6d179d3e83d43b9576579493c0e939", "c0875924c1c7987947deafd8780acf49")
}

// knownAEAD compares the first block and the tag, which covers all of the ciphertext.
func knownAEAD(of func([]byte) (cipher.AEAD, error), nonce, first, tag string) error {
	c, err := of(unhex(sunscreenKey))
	if err != nil {
		return err
	}
	sealed := c.Seal(nil, unhex(nonce), []byte(sunscreen), unhex(sunscreenAAD))
	if err := errors.Join(sameAs(sealed[:len(first)/2], nil, first), sameAs(sealed[len(sunscreen):], nil, tag)); err != nil {
		return err
	}
	got, err := c.Open(nil, unhex(nonce), sealed, unhex(sunscreenAAD))
	if err != nil || string(got) != sunscreen {
		return errors.Join(err, errAnswer)
	}
	return nil
}

// knownX25519: RFC 7748 §6.1.
func knownX25519() error {
	mine, err := ecdh.X25519().NewPrivateKey(unhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"))
	if err != nil {
		return err
	}
	theirs, err := ecdh.X25519().NewPublicKey(unhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"))
	if err != nil {
		return err
	}
	shared, err := mine.ECDH(theirs)
	return sameAs(shared, err, "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
}

// knownKoblitz: the signature by RFC 6979 of "Satoshi Nakamoto" under the private key 1, with SHA-256, which implementations of this curve are tested with.
func knownKoblitz() error {
	one := unhex("0000000000000000000000000000000000000000000000000000000000000001")
	k, err := scalar(one)
	if err != nil {
		return err
	}
	digest := sha256.Sum256([]byte("Satoshi Nakamoto"))
	signature := koblitzSign(k, digest[:])
	if err := sameAs(signature, nil, "3045022100934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d8"+
		"02202442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5"); err != nil {
		return err
	}
	if !koblitzVerify(k.PubKey(), digest[:], signature) {
		return errAnswer
	}
	if digest[0] ^= 1; koblitzVerify(k.PubKey(), digest[:], signature) {
		return errAnswer
	}
	return nil
}

// knownLattice: Project Wycheproof, mldsa_44_sign_seed, mldsa_65_sign_seed and mldsa_87_sign_seed, test 1 of each.
func knownLattice() error {
	seed := (*[latticeSeed]byte)(bytes.Repeat([]byte{0x2a}, latticeSeed))
	message := []byte("Hello world")
	p44, k44 := mldsa44.NewKeyFromSeed(seed)
	s44 := make([]byte, mldsa44.SignatureSize)
	p65, k65 := mldsa65.NewKeyFromSeed(seed)
	s65 := make([]byte, mldsa65.SignatureSize)
	p87, k87 := mldsa87.NewKeyFromSeed(seed)
	s87 := make([]byte, mldsa87.SignatureSize)
	err := errors.Join(
		sumIs(p44.Bytes(), mldsa44.SignTo(k44, message, nil, false, s44), "d87f8ca136ac1aa55e2d6c4521680efb3a378cbb9bc0bfb446e9c60893931ea3"),
		sumIs(p65.Bytes(), mldsa65.SignTo(k65, message, nil, false, s65), "b7acce2ddb11f8cc1aa46e2bafac6eacfa2b732ef192bd636ad8d3a56d649c66"),
		sumIs(p87.Bytes(), mldsa87.SignTo(k87, message, nil, false, s87), "d43128fa8a8c785c1d44c9e7db538dbf9dd88fe6c8ad911a344bcec1017c6d54"),
		sumIs(s44, nil, "8cd6fc03daa72e87210a4e721523e84c14f27733789075e65736744d4787fdd5"),
		sumIs(s65, nil, "39fbbb0d97a52c79844213b325af823a7f16a174e00a5b3daeb3e6e6d1c89681"),
		sumIs(s87, nil, "1ad45bd0419e694375bd38ec11d8e0c228ab9ffac2fce4adbe6218d9c949e293"),
	)
	if err == nil && !(mldsa44.Verify(p44, message, nil, s44) && mldsa65.Verify(p65, message, nil, s65) && mldsa87.Verify(p87, message, nil, s87)) {
		err = errAnswer
	}
	return err
}

// knownHash: ACVP, SLH-DSA-SHA2-128f, signature generation, external, pure, deterministic, test 1 of group 1.
func knownHash() error {
	k := slhdsa.PrivateKey{ID: slhdsa.SHA2_128f}
	if err := k.UnmarshalBinary(unhex("d5213ba4bb6470f1b9eda88cbc94e6277a58a951ef7f2b81461dbac41b5a6b83fa495fb834defea7cc96a81309479135a67029e90668c5a58b96e60111491f3d")); err != nil {
		return err
	}
	message := slhdsa.NewMessage([]byte{0x3f})
	signature, err := slhdsa.SignDeterministic(&k, message, nil)
	if err := sumIs(signature, err, "d3537e05ae63876bf78015ff86cc9e284f91cabfac191298fbaa375596351d55"); err != nil {
		return err
	}
	public := k.PublicKey()
	if !slhdsa.Verify(&public, message, signature, nil) {
		return errAnswer
	}
	return nil
}

// knownKEM512: Project Wycheproof, mlkem_512, test 1.
func knownKEM512() error {
	k, err := circlKEM(kemSets[kms.MLKEM512].circl)(unhex("a3896e30892230a6c1dff667f8caee759ff84a08e3462ae484fcbca9971d7959cdc6c5ec65f10a5a24b5145aac863232ee3b2229ca3a6c4b9c8a2dafc315d9d4"))
	if err := sumIs(publicOf(k), err, "3399ef1223024bd0f646ce6f860fd99557b67058fa620850e772f8531af36231"); err != nil {
		return err
	}
	ciphertext, err := base64.StdEncoding.DecodeString(ciphertext512)
	if err != nil {
		return err
	}
	shared, err := k.decapsulate(ciphertext)
	return sameAs(shared, err, "cf3bcfeb2679cb43658fcdcd01aa1505bcea1e72a165ccac7bfb66d9dc0c0e90")
}

func publicOf(k *kemKey) []byte {
	if k == nil {
		return nil
	}
	return k.public
}

// knownKEMs: the public keys of Project Wycheproof, mlkem_768 and mlkem_1024, test 1 of each; and what Go's module encapsulates, the other implementation opens.
func knownKEMs() error {
	seed768 := unhex("cbfc4405d1b2a3a386c94c25e0f2d5f5ee92cb0388ff4d6aa04223086d51c3fd24752da14c9fc3b8ae0d9e4a8b1016b8d8fc69e229c03ea2ef08a4ae0cffc37f")
	seed1024 := unhex("8247c17686a8bc0b3afebe6bed1df1dc3ff7fa07c3670f624930235f20aecb4353ece11faa61f47d946ee501abb9a48029096de63b243a1794c4a760f98cc157")
	m768, err := mlkem.NewDecapsulationKey768(seed768)
	if err != nil {
		return err
	}
	m1024, err := mlkem.NewDecapsulationKey1024(seed1024)
	if err != nil {
		return err
	}
	for _, t := range []struct {
		a           kms.Algorithm
		seed        []byte
		public      string
		encapsulate func() (shared, ciphertext []byte)
	}{
		{kms.MLKEM768, seed768, "67fe2cb60768d55758c67bfd5842692dedb14513d581c48db2cd3adf94568106", m768.EncapsulationKey().Encapsulate},
		{kms.MLKEM1024, seed1024, "5db6d38ecb5e92dda86dd468931bd4272def51b901c05979ce40053acc85a1e8", m1024.EncapsulationKey().Encapsulate},
	} {
		k, err := circlKEM(kemSets[t.a].circl)(t.seed)
		if err := sumIs(publicOf(k), err, t.public); err != nil {
			return err
		}
		want, ciphertext := t.encapsulate()
		got, err := k.decapsulate(ciphertext)
		if err != nil || !bytes.Equal(got, want) {
			return errors.Join(err, errAnswer)
		}
	}
	return nil
}

// knownXWing: draft-connolly-cfrg-xwing-kem-10, appendix C, vector 1. The ciphertext is compared by its SHA-256.
func knownXWing() error {
	scheme := kemSets[kms.XWing].circl
	public, private := scheme.DeriveKeyPair(unhex("7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26"))
	ciphertext, shared, err := scheme.EncapsulateDeterministically(public, unhex("3cb1eea988004b93103cfb0aeefd2a686e01fa4a58e8a3639ca8a1e3f9ae57e235b8cc873c23dc62b8d260169afa2f75ab916a58d974918835d25e6a435085b2"))
	const want = "d2df0522128f09dd8e2c92b1e905c793d8f57a54c3da25861f10bf4ca613e384"
	if err := errors.Join(sumIs(ciphertext, err, "17cd532d657e44c897ca6583e548a5424fc70bf54f99515a4d2bcf99e3469f33"), sameAs(shared, err, want)); err != nil {
		return err
	}
	got, err := scheme.Decapsulate(private, ciphertext)
	return sameAs(got, err, want)
}

const ciphertext512 = "AOx/zbYXYp/q1/Q89Zp9OguUa1xfRyQHgSwVxEJJ5Sl0SD6zH7bOXhVyhwjvJPeLthu1yLbrtOipbluJjgacSZxEpX77CQcjRZfoEPTeQNhdbqzXdbg0AJN6yGPP5dQGRpuNPKT22+Cs" +
	"7WD77LMliPHdqqCLpcWxd6tRtUjYriIY6y2bArMctLtud1S2p0hWMWrT4DlAJfdQQSAjp0q4UfwDFxytqZPGRp+iVLXThO2rHv6PLvtuujfHunQ0uyQzMZOISRFK05jPkQOPuWwwpxL0" +
	"fhxxg5VoONSHAW8CO9mQCpTGBu2qQr8OZ/Ku3QP1pYHlWvKeJK8GG6c9pkw4addZigyVw8gzDstEgcqyyFzKqjZvmfO6/JgDYvTXAaIz0JZ97Xjk8YdLQs2ndLiI0x8WcdZWfRY21bK8" +
	"wRfiolbzQ1QcPhc+kAttbHG81VR50j3ua1Ti/jIwPHlV+l9WeJRgXtdeZeVIWCIsDQZbqSMfzYKrhq9jwkLRDR0wtBduK7gWn71/A8+gRAmIUzgggyhO+M7PBfnQvT2a+E9t9VHj0R6S" +
	"gXlNNqYZ9h5HkB6g3WlXgiQSUPC1wqINdtOv78sR0BUXnWqadBIcRI4xX1B8sprdQNpOsFyuJzIMSxiiXXrySsewvfc4IUPU0C2z59AW+f9WOODfeWj3hayAAMdUWhpw1v1DzDuijYLp" +
	"62zLOR4JS6haSa1un4/Y+qmVQGKl3xPGmEe+5IW8ZiS0C4Eo/pESMbTvm0oiztT4FA32WluBgGZRKCc/3gKVWmWSHw0b4Tn74e3wrAHbHSpf/ZXWPTOwp2J8q0vNN2RyOMgBl9T6iKfj" +
	"TUyqBm26Kub+//ah6ASnLUntRDwpstsxP98l2Y0N7pkr78RXL4se7g23IntuIC72nqg0CuNpD8Bk0+39jQZ5NNswYXZ+SFfoBeiIKU76ckh0P8qh4BrNr0kd5AjFiGm8liTJURA8B5eT" +
	"vh7fqUQt9N7OQOq7memwFBD8AQiyahPNQkzZqd5br6H8"
