package engine_test

import (
	"bytes"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/release"
	"github.com/keyhold/keyhold/internal/store/mem"
	"github.com/keyhold/keyhold/internal/wire/token"
)

func TestEveryAlgorithmServesItsUsage(t *testing.T) {
	w := newWorld(t)
	for _, a := range kms.AllAlgorithms() {
		for _, u := range a.Usages() {
			if testing.Short() && a.Facts().Slow {
				continue
			}
			name := fmt.Sprintf("%s/%s", a, u)
			k := w.create(name, a, u)
			ref := kms.RefTo(k.ID)
			for _, s := range a.Facts().Schemes {
				if s.Usage != u {
					continue
				}
				msg := []byte("a message")
				var err error
				switch u {
				case kms.EncryptDecrypt:
					var c engine.EncryptOutput
					if c, err = w.e.Encrypt(t.Context(), user, engine.EncryptInput{Key: ref, Scheme: s.Scheme, Items: []engine.EncryptItem{{Plaintext: msg, Context: kms.Context{"a": "b"}}}}); err == nil {
						var d engine.DecryptOutput
						d, err = w.e.Decrypt(t.Context(), user, engine.DecryptInput{Scheme: s.Scheme, Items: []engine.DecryptItem{{Ciphertext: c.Items[0].Ciphertext, Context: kms.Context{"a": "b"}}}})
						if err == nil && !bytes.Equal(d.Items[0].Plaintext.Wire(release.Wire{}), msg) {
							t.Errorf("%s %s: another plaintext came back", name, s.Scheme)
						}
					}
				case kms.SignVerify:
					if s.Leave[kms.ProfileDefault] != kms.Full || s.Scheme == kms.SchemePKCS1None { // package soft tests what is only verified, and what takes no message
						continue
					}
					var out engine.SignOutput
					if out, err = w.e.Sign(t.Context(), user, engine.SignInput{Key: ref, Scheme: s.Scheme, Items: []engine.SignItem{{Message: msg}}}); err == nil {
						_, err = w.e.Verify(t.Context(), user, engine.VerifyInput{Key: ref, Scheme: s.Scheme, Items: []engine.VerifyItem{{Message: msg, Signature: out.Items[0].Signature}}})
						_, bad := w.e.Verify(t.Context(), user, engine.VerifyInput{Key: ref, Scheme: s.Scheme, Items: []engine.VerifyItem{{Message: []byte("other"), Signature: out.Items[0].Signature}}})
						wantCode(t, bad, kms.CodeBadSignature)
					}
				case kms.MAC:
					var out engine.MACOutput
					if out, err = w.e.GenerateMAC(t.Context(), user, engine.MACInput{Key: ref, Items: []engine.MACItem{{Message: msg}}}); err == nil {
						_, err = w.e.VerifyMAC(t.Context(), user, engine.VerifyMACInput{Key: ref, Items: []engine.VerifyMACItem{{Message: msg, MAC: out.Items[0].MAC}}})
						_, bad := w.e.VerifyMAC(t.Context(), user, engine.VerifyMACInput{Key: ref, Items: []engine.VerifyMACItem{{Message: []byte("other"), MAC: out.Items[0].MAC}}})
						wantCode(t, bad, kms.CodeBadMAC)
					}
				case kms.KeyAgreement:
					var p engine.PublicKeyOutput
					if p, err = w.e.GetPublicKey(t.Context(), user, engine.PublicKeyInput{Key: ref}); err == nil {
						var out engine.SharedSecret
						out, err = w.e.DeriveSharedSecret(t.Context(), user, engine.DeriveInput{Key: ref, PeerPublic: p.DER, KDF: engine.HKDFSHA256})
						if err == nil && (out.Secret.Len() != 32 || out.Scheme != s.Scheme) {
							t.Errorf("%s: %d bytes by %s", name, out.Secret.Len(), out.Scheme)
						}
					}
				case kms.Encapsulation:
					var c engine.EncapsulateOutput
					if c, err = w.e.Encapsulate(t.Context(), user, engine.EncapsulateInput{Key: ref}); err == nil {
						var d engine.SharedSecret
						d, err = w.e.Decapsulate(t.Context(), user, engine.DecapsulateInput{Key: ref, Ciphertext: c.Ciphertext})
						if err == nil && (!bytes.Equal(d.Secret.Wire(release.Wire{}), c.Secret.Wire(release.Wire{})) || d.Scheme != s.Scheme) {
							t.Errorf("%s: another secret came back, by %s", name, d.Scheme)
						}
					}
				case kms.Wrapping:
					msg := bytes.Repeat([]byte{7}, 24)
					var c engine.WrapOutput
					if c, err = w.e.WrapKey(t.Context(), user, engine.WrapInput{Key: ref, Scheme: s.Scheme, Items: []engine.WrapItem{{Material: msg}}}); err == nil {
						var d engine.UnwrapOutput
						d, err = w.e.UnwrapKey(t.Context(), user, engine.WrapInput{Key: ref, Scheme: s.Scheme, Items: []engine.WrapItem{{Material: c.Items[0].Wrapped}}})
						if err == nil && !bytes.Equal(d.Items[0].Material.Wire(release.Wire{}), msg) {
							t.Errorf("%s %s: another material came back", name, s.Scheme)
						}
					}
				case kms.FormatPreserving:
					text := []byte("4111111111111111")
					var c engine.EncryptFormatOutput
					if c, err = w.e.EncryptFormat(t.Context(), user, engine.FormatInput{Key: ref, Items: []engine.FormatItem{{Text: text}}}); err == nil {
						var d engine.DecryptFormatOutput
						d, err = w.e.DecryptFormat(t.Context(), user, engine.FormatInput{Key: ref, Items: []engine.FormatItem{{Text: []byte(c.Items[0].Text)}}})
						if err == nil && !bytes.Equal(d.Items[0].Text.Wire(release.Wire{}), text) {
							t.Errorf("%s: another text came back", name)
						}
					}
				default:
					t.Errorf("usage %s is not tested", u)
				}
				if err != nil {
					t.Errorf("%s %s: %v", name, s.Scheme, err)
				}
			}
			pub, err := w.e.GetPublicKey(t.Context(), user, engine.PublicKeyInput{Key: ref})
			if a.Facts().Asymmetric {
				if err == nil {
					var spki struct { // crypto/x509 does not know every kind; providertest reads them all
						Algorithm pkix.AlgorithmIdentifier
						Public    asn1.BitString
					}
					_, err = asn1.Unmarshal(pub.DER, &spki)
				}
				if err != nil {
					t.Errorf("%s: public key: %v", name, err)
				}
			} else {
				wantCode(t, err, kms.CodeAlgorithm)
			}
			// A key serves one purpose: an RSA signing key does not decrypt, an encryption key does not sign.
			if u != kms.SignVerify {
				_, err = w.e.Sign(t.Context(), user, engine.SignInput{Key: ref, Items: []engine.SignItem{{Message: []byte("m")}}})
				if c := kms.CodeOf(err); c != kms.CodeUsage && c != kms.CodeAlgorithm {
					t.Errorf("%s signs: %v", name, err)
				}
			}
			if u != kms.EncryptDecrypt {
				_, err = w.e.Encrypt(t.Context(), user, engine.EncryptInput{Key: ref, Items: []engine.EncryptItem{{Plaintext: []byte("m")}}})
				if c := kms.CodeOf(err); c != kms.CodeUsage && c != kms.CodeAlgorithm {
					t.Errorf("%s encrypts: %v", name, err)
				}
			}
		}
	}
}

func TestRotationKeepsOldCiphertextsOpen(t *testing.T) {
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	var old [][]byte
	for i := range 5 {
		old = append(old, w.encrypt("k", fmt.Sprint(i), nil))
		out, err := w.e.RotateKey(t.Context(), admin, engine.RotateKeyInput{Key: "k"})
		if err != nil || out.Key.Primary != uint32(i+2) {
			t.Fatalf("rotation %d: %+v %v", i, out.Key, err)
		}
	}
	w.restart()
	for i, c := range old {
		if got, err := w.decrypt(user, c, nil); err != nil || got != fmt.Sprint(i) {
			t.Fatalf("version %d: %q %v", i+1, got, err)
		}
	}
	_, err := w.e.DeactivateVersion(t.Context(), admin, engine.DeactivateInput{Key: "k", Version: 6})
	wantCode(t, err, kms.CodeVersionState)
	if _, err := w.e.DeactivateVersion(t.Context(), admin, engine.DeactivateInput{Key: "k", Version: 2}); err != nil {
		t.Fatal(err)
	}
	_, err = w.decrypt(user, old[1], nil)
	wantCode(t, err, kms.CodeVersionState)
	if _, err := w.decrypt(user, old[0], nil); err != nil {
		t.Fatal(err)
	}
	moved, err := w.e.ReEncrypt(t.Context(), user, engine.ReEncryptInput{To: "k", Items: []engine.ReEncryptItem{{Ciphertext: old[0]}, {Ciphertext: old[1]}, {Ciphertext: old[2]}}})
	if err != nil || moved.Version != 6 {
		t.Fatalf("re-encryption: %+v %v", moved, err)
	}
	if moved.Items[1].Err == nil || moved.Items[1].Err.Code != kms.CodeVersionState || moved.Items[0].Err != nil || moved.Items[2].Err != nil {
		t.Fatalf("partial failure: %+v", moved.Items)
	}
	if got, err := w.decrypt(user, moved.Items[0].Ciphertext, nil); err != nil || got != "0" {
		t.Fatalf("re-encrypted: %q %v", got, err)
	}
	// One record for the batch, carrying every item's outcome.
	recs := w.records(audit.Filter{Action: kms.ReEncrypt})
	if len(recs) != 1 || len(recs[0].Items) != 3 || recs[0].Items[1].Code != kms.CodeVersionState || recs[0].Items[0].Code != 0 || len(recs[0].Keys) != 2 {
		t.Fatalf("the batch's record: %+v", recs)
	}
	page, err := w.e.ListVersions(t.Context(), user, engine.VersionsInput{Key: "k", Limit: 4})
	if err != nil || len(page.Versions) != 4 || page.Versions[0].Number != 6 || page.Next != 3 {
		t.Fatalf("versions: %+v %v", page, err)
	}
	page, err = w.e.ListVersions(t.Context(), user, engine.VersionsInput{Key: "k", Limit: 4, Before: page.Next})
	if err != nil || len(page.Versions) != 2 || page.Versions[1].Number != 1 || page.Next != 0 {
		t.Fatalf("versions: %+v %v", page, err)
	}
}

// A refusal is the same whether or not there is such a key, for those who may not use it.
func TestARefusalDoesNotTellWhichKeysExist(t *testing.T) {
	w := newWorld(t)
	k := w.create("exists", kms.AES256GCM, 0)
	mallory := as("mallory")
	ask := func(c kms.Call, ref kms.Ref) *kms.Error {
		_, err := w.e.Encrypt(t.Context(), c, engine.EncryptInput{Key: ref, Items: []engine.EncryptItem{{}}})
		return kms.AsError(err)
	}
	there, missing := ask(mallory, "exists"), ask(mallory, "missing")
	byID, noID := ask(mallory, kms.RefTo(k.ID)), ask(mallory, kms.RefTo(kms.ID{1, 2, 3}))
	for _, e := range []*kms.Error{there, missing, byID, noID} {
		if e.Code != kms.CodeDenied || e.What != there.What || e.Advice() != there.Advice() || e.Decision == "" {
			t.Errorf("got %+v, want the same as %+v", e, there)
		}
	}
	wantCode(t, ask(user, "missing"), kms.CodeKeyNotFound)
	other := as("eve", kms.RoleUser)
	other.Principal.Namespace = "elsewhere"
	wantCode(t, ask(other, "exists"), kms.CodeDenied)
	nowhere := user
	nowhere.Namespace = "nowhere"
	wantCode(t, ask(nowhere, "exists"), kms.CodeDenied)
}

func TestWhoManagesAKeyMayNotUseIt(t *testing.T) {
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	both := as("both", kms.RoleAdmin, kms.RoleUser)
	_, err := w.e.Encrypt(t.Context(), both, engine.EncryptInput{Key: "k", Items: []engine.EncryptItem{{}}})
	wantCode(t, err, kms.CodeDuties)
	ex, err := w.e.Explain(t.Context(), admin, engine.ExplainInput{Decision: kms.AsError(err).Decision})
	if err != nil || ex.Record == nil || ex.Record.Code != kms.CodeDuties {
		t.Fatalf("explanation: %+v %v", ex, err)
	}
	off := false
	c := admin
	if _, err := w.e.UpdateNamespace(t.Context(), c, engine.NamespaceInput{Name: "default", SeparationOfDuties: &off}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.e.Encrypt(t.Context(), both, engine.EncryptInput{Key: "k", Items: []engine.EncryptItem{{}}}); err != nil {
		t.Fatal(err)
	}
	_, err = w.e.Encrypt(t.Context(), operator(), engine.EncryptInput{Key: "k", Items: []engine.EncryptItem{{}}})
	wantCode(t, err, kms.CodeDenied)
}

func TestPoliciesGrantForbidAndExplain(t *testing.T) {
	w := newWorld(t)
	w.create("payments/card", kms.AES256GCM, 0)
	svc := as("svc/pay")
	try := func() error {
		_, err := w.e.Encrypt(t.Context(), svc, engine.EncryptInput{Key: "payments/card", Items: []engine.EncryptItem{{Context: kms.Context{"tenant": "a"}}}})
		return err
	}
	wantCode(t, try(), kms.CodeDenied)
	put := func(id, text string) {
		t.Helper()
		if _, err := w.e.PutPolicy(t.Context(), admin, engine.PutPolicyInput{ID: id, Text: text}); err != nil {
			t.Fatal(err)
		}
	}
	put("pay", `permit (principal == Principal::"svc/pay", action in Action::"UseKey", resource in Folder::"payments");`)
	wantCode(t, try(), 0)
	put("freeze", `forbid (principal == Principal::"svc/pay", action == Action::"Encrypt", resource);`)
	err := try()
	wantCode(t, err, kms.CodeDenied)
	ex, err := w.e.Explain(t.Context(), admin, engine.ExplainInput{Decision: kms.AsError(err).Decision})
	if err != nil || len(ex.Explanation.Forbids) != 1 || ex.Explanation.Forbids[0].Policy != "freeze" || len(ex.Explanation.Needs) == 0 {
		t.Fatalf("explanation: %+v %v", ex.Explanation, err)
	}
	_, err = w.e.Explain(t.Context(), svc, engine.ExplainInput{Decision: "n1-1-1"})
	wantCode(t, err, kms.CodeDenied)
	can, err := w.e.CanI(t.Context(), svc, engine.CanIInput{Action: kms.Encrypt, Key: "payments/card"})
	if err != nil || can.Explanation.Allowed || len(can.Explanation.Forbids) != 0 {
		t.Fatalf("can-i for oneself: %+v %v", can, err)
	}
	if _, err := w.e.DeletePolicy(t.Context(), admin, engine.PolicyInput{ID: "freeze"}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, try(), 0)
	_, err = w.e.PutPolicy(t.Context(), admin, engine.PutPolicyInput{ID: "bad", Text: `permit (principal, action == Action::"Encrpt", resource);`})
	wantCode(t, err, kms.CodeBadPolicy)
	w.restart()
	wantCode(t, try(), 0)
}

// A policy on the encryption context is asked about every item of a batch, not about the first alone.
func TestAPolicyOnTheContextHoldsForEveryItem(t *testing.T) {
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	svc := as("svc/a")
	if _, err := w.e.PutPolicy(t.Context(), admin, engine.PutPolicyInput{ID: "tenant-a", Text: `permit (principal == Principal::"svc/a", action in [Action::"Encrypt", Action::"Decrypt"], resource)
		when { context.encryption.hasTag("tenant") && context.encryption.getTag("tenant") == "a" };`}); err != nil {
		t.Fatal(err)
	}
	a, b := kms.Context{"tenant": "a"}, kms.Context{"tenant": "b"}
	encrypt := func(all ...kms.Context) error {
		in := engine.EncryptInput{Key: "k"}
		for _, c := range all {
			in.Items = append(in.Items, engine.EncryptItem{Plaintext: []byte("x"), Context: c})
		}
		return second(w.e.Encrypt(t.Context(), svc, in))
	}
	wantCode(t, encrypt(a), 0)
	wantCode(t, encrypt(a, a, a), 0)
	wantCode(t, encrypt(b), kms.CodeDenied)
	wantCode(t, encrypt(a, a, b), kms.CodeDenied)
	recs := w.records(audit.Filter{Action: kms.Encrypt, Name: "svc/a"})
	seen := map[[32]byte]bool{}
	for _, r := range recs {
		seen[r.Context] = true
	}
	if len(recs) != 4 || len(seen) != 4 {
		t.Fatalf("%d records with %d different context digests, want 4 of each", len(recs), len(seen))
	}
}

// A denial that comes between doing and releasing withholds the output.
func TestADenialInBetweenWithholdsTheOutput(t *testing.T) {
	f := &faulty{}
	w := newWorld(t, withFaults(f))
	w.create("k", kms.AES256GCM, 0)
	c := w.encrypt("k", "x", nil)
	between := func(change func()) error {
		var once sync.Once
		f.before = func(r *audit.Record) {
			if r.Action == kms.Decrypt {
				once.Do(change)
			}
		}
		defer func() { f.before = nil }()
		_, err := w.decrypt(user, c, nil)
		return err
	}
	wantCode(t, between(func() {
		if _, err := w.e.DisableKey(t.Context(), admin, engine.KeyInput{Key: "k"}); err != nil {
			t.Error(err)
		}
	}), kms.CodeWithheld)
	if n := len(w.records(audit.Filter{Action: kms.Withhold})); n != 1 {
		t.Fatalf("%d records of withholding, want 1", n)
	}
	if _, err := w.e.EnableKey(t.Context(), admin, engine.KeyInput{Key: "k"}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, between(func() {
		if _, err := w.e.PutPolicy(t.Context(), admin, engine.PutPolicyInput{ID: "no", Text: `forbid (principal, action == Action::"Decrypt", resource);`}); err != nil {
			t.Error(err)
		}
	}), kms.CodeWithheld)
	if _, err := w.e.DeletePolicy(t.Context(), admin, engine.PolicyInput{ID: "no"}); err != nil {
		t.Fatal(err)
	}
	var stands standing
	stands.Store(true)
	held := user
	p := *user.Principal
	p.Standing = &stands
	held.Principal = &p
	f.before = func(*audit.Record) { stands.Store(false) }
	_, err := w.decrypt(held, c, nil)
	f.before = nil
	wantCode(t, err, kms.CodeWithheld)
	// A change that takes nothing away costs nobody an answer.
	label := "new description"
	wantCode(t, between(func() {
		if _, err := w.e.UpdateKey(t.Context(), admin, engine.UpdateKeyInput{Key: "k", Description: &label}); err != nil {
			t.Error(err)
		}
	}), 0)
}

type standing struct{ atomic.Bool }

func (s *standing) Stands() bool { return s.Load() }

func TestAnIdempotencyTokenDoesAThingOnce(t *testing.T) {
	w := newWorld(t)
	c := admin
	c.Token = "tok-1"
	in := engine.CreateKeyInput{Name: "k", Algorithm: kms.AES256GCM}
	first, err := w.e.CreateKey(t.Context(), c, in)
	wantCode(t, err, 0)
	second, err := w.e.CreateKey(t.Context(), c, in)
	if err != nil || second.Key.ID != first.Key.ID {
		t.Fatalf("the repeat gave %v %v, want %v", second.Key.ID, err, first.Key.ID)
	}
	w.restart()
	third, err := w.e.CreateKey(t.Context(), c, in)
	if err != nil || third.Key.ID != first.Key.ID {
		t.Fatalf("the repeat after a restart gave %v %v", third.Key.ID, err)
	}
	_, err = w.e.CreateKey(t.Context(), c, engine.CreateKeyInput{Name: "other", Algorithm: kms.AES256GCM})
	wantCode(t, err, kms.CodeTokenReused)
	if n := len(w.records(audit.Filter{Outcome: audit.Replayed})); n != 2 {
		t.Fatalf("%d replays on the record, want 2", n)
	}
	// What was shown once is not shown again.
	c.Token = "tok-2"
	if _, err = w.e.CreateToken(t.Context(), c, engine.CreateTokenInput{Principal: "p"}); err != nil {
		t.Fatal(err)
	}
	_, err = w.e.CreateToken(t.Context(), c, engine.CreateTokenInput{Principal: "p"})
	wantCode(t, err, kms.CodeAlreadyDone)
}

func TestDryRunChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	dry := admin
	dry.DryRun = true
	name, off := "renamed", false
	before, err := w.store.Confirm(t.Context())
	wantCode(t, err, 0)
	for what, err := range map[string]error{
		"create":   second(w.e.CreateKey(t.Context(), dry, engine.CreateKeyInput{Name: "n", Algorithm: kms.RSA4096, Usage: kms.SignVerify})),
		"rotate":   second(w.e.RotateKey(t.Context(), dry, engine.RotateKeyInput{Key: "k"})),
		"update":   second(w.e.UpdateKey(t.Context(), dry, engine.UpdateKeyInput{Key: "k", Name: &name})),
		"disable":  second(w.e.DisableKey(t.Context(), dry, engine.KeyInput{Key: "k"})),
		"destroy":  second(w.e.ScheduleKeyDestruction(t.Context(), dry, engine.DestroyInput{Key: "k"})),
		"policy":   second(w.e.PutPolicy(t.Context(), dry, engine.PutPolicyInput{ID: "p", Text: `permit (principal, action, resource) when { false };`})),
		"token":    second(w.e.CreateToken(t.Context(), dry, engine.CreateTokenInput{Principal: "p"})),
		"duties":   second(w.e.UpdateNamespace(t.Context(), dry, engine.NamespaceInput{Name: "default", SeparationOfDuties: &off})),
		"bindings": second(w.e.CreateCredential(t.Context(), dry, engine.CreateCredentialInput{Subject: "spiffe://x/y", Principal: "p"})),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	dry.Namespace = kms.DefaultNamespace
	_, err = w.e.CreateKey(t.Context(), dry, engine.CreateKeyInput{Name: "k", Algorithm: kms.AES256GCM})
	wantCode(t, err, kms.CodeExists) // a dry run says what would have gone wrong
	after, err := w.store.Confirm(t.Context())
	if err != nil || after != before {
		t.Fatalf("the store moved from %d to %d", before.Rev, after.Rev)
	}
	if n := len(w.records(audit.Filter{Outcome: audit.DryRun})); n != 9 {
		t.Fatalf("%d dry runs on the record, want 9", n)
	}
}

func TestNamesAliasesAndListing(t *testing.T) {
	w := newWorld(t)
	var ids []kms.ID
	for i := range 25 {
		out, err := w.e.CreateKey(t.Context(), admin, engine.CreateKeyInput{Name: fmt.Sprintf("app/%02d", i), Algorithm: kms.AES256GCM,
			Labels: map[string]string{"parity": []string{"even", "odd"}[i%2]}, Aliases: []string{fmt.Sprintf("a%d", i)}})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, out.Key.ID)
	}
	var got []kms.ID
	for page := ""; ; {
		out, err := w.e.ListKeys(t.Context(), user, engine.ListKeysInput{Page: page, Limit: 7})
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range out.Keys {
			got = append(got, k.ID)
		}
		if page = out.Next; page == "" {
			break
		}
	}
	if !slices.Equal(got, ids) {
		t.Fatalf("listed %d keys in another order than they were made in", len(got))
	}
	odd, err := w.e.ListKeys(t.Context(), user, engine.ListKeysInput{Filter: engine.KeyFilter{Labels: map[string]string{"parity": "odd"}, NamePrefix: "app/1"}})
	if err != nil || len(odd.Keys) != 5 {
		t.Fatalf("filtered: %d %v", len(odd.Keys), err)
	}
	name := "renamed"
	if _, err := w.e.UpdateKey(t.Context(), admin, engine.UpdateKeyInput{Key: "alias/a3", Name: &name, AddAliases: []string{"more"}, RemoveAliases: []string{"a3"}}); err != nil {
		t.Fatal(err)
	}
	for ref, want := range map[kms.Ref]kms.Code{"renamed": 0, "alias/more": 0, "app/03": kms.CodeKeyNotFound, "alias/a3": kms.CodeKeyNotFound, kms.RefTo(ids[3]): 0} {
		out, err := w.e.DescribeKey(t.Context(), user, engine.KeyInput{Key: ref})
		if kms.CodeOf(err) != want || err == nil && out.Key.ID != ids[3] {
			t.Errorf("%s: %v %v, want %v", ref, out.Key.ID, err, want)
		}
	}
	taken := "app/04"
	_, err = w.e.UpdateKey(t.Context(), admin, engine.UpdateKeyInput{Key: "renamed", Name: &taken})
	wantCode(t, err, kms.CodeExists)
	_, err = w.e.UpdateKey(t.Context(), admin, engine.UpdateKeyInput{Key: "renamed", Description: &taken, IfRev: 1})
	wantCode(t, err, kms.CodeConflict)
	_, err = w.e.ListKeys(t.Context(), user, engine.ListKeysInput{Page: "nonsense"})
	wantCode(t, err, kms.CodeBadToken)
}

// The changes of one key chain in the log: each names the leaf hash of the one before it.
func TestTheChangesOfAKeyChain(t *testing.T) {
	w := newWorld(t)
	k := w.create("k", kms.AES256GCM, 0)
	for _, f := range []func() error{
		func() error { return second(w.e.RotateKey(t.Context(), admin, engine.RotateKeyInput{Key: "k"})) },
		func() error { return second(w.e.DisableKey(t.Context(), admin, engine.KeyInput{Key: "k"})) },
		func() error { return second(w.e.EnableKey(t.Context(), admin, engine.KeyInput{Key: "k"})) },
	} {
		if err := f(); err != nil {
			t.Fatal(err)
		}
	}
	recs := w.records(audit.Filter{Key: k.ID, Changes: true})
	slices.Reverse(recs)
	var previous [32]byte
	for i, r := range recs {
		if r.PrevChange != previous {
			t.Fatalf("change %d (%s) does not name the one before it", i, r.Action)
		}
		rec := r.Record
		h, err := rec.LeafHash()
		if err != nil {
			t.Fatal(err)
		}
		previous = h
	}
	if len(recs) != 4 {
		t.Fatalf("%d changes, want 4", len(recs))
	}
}

func TestEnrolmentIsOnceAndShort(t *testing.T) {
	w := newWorld(t)
	stranger := kms.Call{Namespace: kms.SystemNamespace, Dialect: kms.DialectNative}
	_, err := w.e.Enroll(t.Context(), stranger, engine.EnrollInput{Code: secret.Copy([]byte("wrong"))})
	wantCode(t, err, kms.CodeUnauthenticated)
	out, err := w.e.Enroll(t.Context(), stranger, engine.EnrollInput{Code: w.code, Principal: "root-admin"})
	if err != nil {
		t.Fatal(err)
	}
	id, random, ok := token.Parse(string(out.Token.Wire(release.Wire{})))
	if !ok || id != out.Info.ID {
		t.Fatal("the token has not the form of a token")
	}
	who, err := w.e.Identities().Token(t.Context(), id)
	if err != nil || who.Digest != token.Digest(random) || !who.Principal.Has(kms.RoleOperator) || who.Principal.Namespace != kms.SystemNamespace {
		t.Fatalf("identity: %+v %v", who, err)
	}
	_, err = w.e.Enroll(t.Context(), stranger, engine.EnrollInput{Code: w.code})
	wantCode(t, err, kms.CodeUnauthenticated)
	_, err = w.e.MintEnrollment(t.Context(), local(), engine.MintInput{Shares: w.shares[:1]})
	wantCode(t, err, kms.CodeBadShare)
	minted, err := w.e.MintEnrollment(t.Context(), local(), engine.MintInput{Shares: w.shares[1:]})
	if err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(16 * time.Minute)
	_, err = w.e.Enroll(t.Context(), stranger, engine.EnrollInput{Code: secret.Copy(minted.Code.Wire(release.Wire{}))})
	wantCode(t, err, kms.CodeUnauthenticated)
}

func TestSharesAreCheckedOneByOne(t *testing.T) {
	w := newWorld(t)
	if _, err := w.e.Seal(t.Context(), operator()); err != nil {
		t.Fatal(err)
	}
	_, err := w.e.Encrypt(t.Context(), user, engine.EncryptInput{Key: "k", Items: []engine.EncryptItem{{}}})
	wantCode(t, err, kms.CodeSealed)
	_, err = w.e.Unseal(t.Context(), local(), engine.UnsealInput{Share: secret.Copy([]byte("not a share"))})
	wantCode(t, err, kms.CodeBadShare)
	st, err := w.e.Unseal(t.Context(), local(), engine.UnsealInput{Share: w.shares[2]})
	if err != nil || !st.Sealed || len(st.Given) != 1 || st.Threshold != 2 {
		t.Fatalf("after one share: %+v %v", st, err)
	}
	_, err = w.e.Unseal(t.Context(), local(), engine.UnsealInput{Share: w.shares[2]})
	wantCode(t, err, kms.CodeBadShare)
	st, err = w.e.Unseal(t.Context(), local(), engine.UnsealInput{Share: w.shares[0]})
	if err != nil || st.Sealed {
		t.Fatalf("after two shares: %+v %v", st, err)
	}
	again := newWorld(t)
	_ = again
	_, err = w.e.Init(t.Context(), local(), engine.InitInput{Shares: 3, Threshold: 2})
	wantCode(t, err, kms.CodeInitialised)
}

// Root rotation re-seals the one level below the root; nothing else changes, and the custodians' shares stay good.
func TestRootRotationResealsOnlyTheNextLevel(t *testing.T) {
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	c := w.encrypt("k", "x", nil)
	if _, err := w.e.CreateNamespace(t.Context(), operator(), engine.NamespaceInput{Name: "tenant"}); err != nil {
		t.Fatal(err)
	}
	value := func(kind byte) []byte {
		recs, _, err := w.store.Scan(t.Context(), []byte{kind}, nil, 10)
		if err != nil || len(recs) == 0 {
			t.Fatal(err)
		}
		return recs[0].Value
	}
	version, key, shred := value('V'), value('K'), value('R')
	st, err := w.e.RotateRoot(t.Context(), operator())
	if err != nil || st.RootGen != 2 || st.Sealed {
		t.Fatalf("rotation: %+v %v", st, err)
	}
	if !bytes.Equal(version, value('V')) || !bytes.Equal(key, value('K')) || !bytes.Equal(shred, value('R')) {
		t.Fatal("more than the next level was written")
	}
	if got, err := w.decrypt(user, c, nil); err != nil || got != "x" {
		t.Fatalf("after rotation: %q %v", got, err)
	}
	w.restart()
	if got, err := w.decrypt(user, c, nil); err != nil || got != "x" {
		t.Fatalf("after rotation and restart with the same shares: %q %v", got, err)
	}
	if st, err = w.e.RotateRoot(t.Context(), operator()); err != nil || st.RootGen != 3 {
		t.Fatalf("second rotation: %+v %v", st, err)
	}
	w.create("k2", kms.AES256GCM, 0)
	w.restart()
	if got, err := w.decrypt(user, w.encrypt("k2", "y", nil), nil); err != nil || got != "y" {
		t.Fatalf("after two rotations: %q %v", got, err)
	}
}

// TestARootThatRotatesRefusesNobody uses a key, asks what uses it and counts, all at once, while the root is replaced again and again.
func TestARootThatRotatesRefusesNobody(t *testing.T) {
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	c := w.encrypt("k", "x", nil)
	rotated := make(chan struct{})
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for {
				select {
				case <-rotated:
					return
				default:
				}
				if got, err := w.decrypt(user, c, nil); err != nil || got != "x" {
					t.Errorf("decrypt while the root rotates: %q %v", got, err)
					return
				}
				if _, err := w.e.AssessKey(t.Context(), admin, engine.AssessInput{Key: "k"}); err != nil {
					t.Errorf("assess while the root rotates: %v", err)
					return
				}
			}
		})
	}
	for range 100 {
		if _, err := w.e.RotateRoot(t.Context(), operator()); err != nil {
			t.Error(err)
		}
	}
	close(rotated)
	callers.Wait()
}

func TestTokensCanBeRevokedAndListed(t *testing.T) {
	w := newWorld(t)
	out, err := w.e.CreateToken(t.Context(), admin, engine.CreateTokenInput{Principal: "svc/a", Roles: []kms.Role{kms.RoleUser}, Scope: []kms.Action{kms.Encrypt}, TTL: time.Hour})
	wantCode(t, err, 0)
	_, err = w.e.CreateToken(t.Context(), admin, engine.CreateTokenInput{Principal: "x", Roles: []kms.Role{kms.RoleOperator}})
	wantCode(t, err, kms.CodeBadRequest)
	_, err = w.e.CreateToken(t.Context(), user, engine.CreateTokenInput{Principal: "x"})
	wantCode(t, err, kms.CodeDenied)
	list, err := w.e.ListTokens(t.Context(), admin, engine.PageInput{})
	if err != nil || len(list.Tokens) != 1 || list.Tokens[0].Principal != "svc/a" || !list.Tokens[0].Expires.Equal(w.now.Add(time.Hour)) {
		t.Fatalf("tokens: %+v %v", list, err)
	}
	if _, err := w.e.RevokeToken(t.Context(), admin, engine.IDInput{ID: out.Info.ID}); err != nil {
		t.Fatal(err)
	}
	who, err := w.e.Identities().Token(t.Context(), out.Info.ID)
	if err != nil || !who.Revoked {
		t.Fatalf("after revocation: %+v %v", who, err)
	}
	if _, err := w.e.CreateCredential(t.Context(), admin, engine.CreateCredentialInput{Subject: "spiffe://example/app", Principal: "svc/b", Roles: []kms.Role{kms.RoleUser}}); err != nil {
		t.Fatal(err)
	}
	got, err := w.e.Identities().Certificate(t.Context(), "spiffe://example/app")
	if err != nil || got.Principal.Name != "svc/b" || got.Principal.Method != kms.AuthCertificate {
		t.Fatalf("binding: %+v %v", got, err)
	}
}

func TestDestructionIsCancellableToTheLastSecond(t *testing.T) {
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	c := w.encrypt("k", "x", nil)
	_, err := w.schedule(admin, engine.DestroyInput{Key: "k", Window: time.Hour})
	wantCode(t, err, kms.CodeWindow)
	out, err := w.schedule(admin, engine.DestroyInput{Key: "k"})
	if err != nil || !out.Key.DestroyAt.Equal(w.now.Add(30*24*time.Hour)) {
		t.Fatalf("scheduled: %+v %v", out.Key, err)
	}
	_, err = w.decrypt(user, c, nil)
	wantCode(t, err, kms.CodeKeyPendingDestruction)
	w.now = out.Key.DestroyAt.Add(-time.Second)
	if out, err = w.e.CancelKeyDestruction(t.Context(), admin, engine.CancelInput{Key: "k"}); err != nil || out.Key.Switch != kms.Enabled || !out.Key.DestroyAt.IsZero() {
		t.Fatalf("cancelled: %+v %v", out.Key, err)
	}
	if got, err := w.decrypt(user, c, nil); err != nil || got != "x" {
		t.Fatalf("after cancelling: %q %v", got, err)
	}
	if out, err = w.schedule(admin, engine.DestroyInput{Key: "k"}); err != nil {
		t.Fatal(err)
	}
	w.now = out.Key.DestroyAt
	_, err = w.e.CancelKeyDestruction(t.Context(), admin, engine.CancelInput{Key: "k"})
	wantCode(t, err, kms.CodeWindow)
}

func TestConcurrentUseAndChange(t *testing.T) {
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	c := w.encrypt("k", "x", nil)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 60 {
				switch {
				case i == 0 && j%10 == 0:
					if _, err := w.e.RotateKey(t.Context(), admin, engine.RotateKeyInput{Key: "k"}); err != nil {
						t.Error(err)
					}
				case i == 1 && j%10 == 0:
					text := fmt.Sprint(j)
					if _, err := w.e.UpdateKey(t.Context(), admin, engine.UpdateKeyInput{Key: "k", Description: &text}); err != nil {
						t.Error(err)
					}
				default:
					if got, err := w.decrypt(user, c, nil); err != nil || got != "x" {
						t.Errorf("%q %v", got, err)
					}
				}
			}
		})
	}
	for i := range 16 {
		wg.Go(func() {
			if _, err := w.e.CreateKey(t.Context(), admin, engine.CreateKeyInput{Name: fmt.Sprintf("c/%d", i), Algorithm: kms.AES256GCM}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if out, err := w.e.CheckStore(t.Context(), operator()); err != nil || out.DamagedCount != 0 || out.Keys != 17 || out.Versions != 16+7 {
		t.Fatalf("afterwards: %+v %v", out, err)
	}
}

func TestDenialsInALoopAreSlowedDown(t *testing.T) {
	w := newWorld(t)
	mallory := as("mallory")
	var last error
	for range 250 {
		_, last = w.e.DescribeKey(t.Context(), mallory, engine.KeyInput{Key: "x"})
	}
	wantCode(t, last, kms.CodeRateLimited)
	if n := len(w.records(audit.Filter{Name: "mallory"})); n > 210 {
		t.Fatalf("%d records of one principal's denials", n)
	}
	_, err := w.e.WhoAmI(t.Context(), user)
	wantCode(t, err, 0)
	w.now = w.now.Add(time.Minute)
	_, err = w.e.DescribeKey(t.Context(), mallory, engine.KeyInput{Key: "x"})
	wantCode(t, err, kms.CodeDenied)
}

func TestProofsVerifyOffline(t *testing.T) {
	w := newWorld(t)
	k := w.create("k", kms.AES256GCM, 0)
	w.encrypt("k", "x", nil)
	auditor := as("carol", kms.RoleAuditor)
	list, err := w.e.ListAudit(t.Context(), auditor, engine.AuditListInput{Filter: audit.Filter{Key: k.ID}})
	if err != nil || len(list.Entries) != 2 {
		t.Fatalf("%+v %v", list, err)
	}
	for _, at := range list.Entries {
		out, err := w.e.ProveRecord(t.Context(), auditor, engine.ProveInput{Position: at.Position.String()})
		if err != nil || len(out.Bundle) == 0 || !strings.HasPrefix(out.VerifierKey, "keyhold.") || out.VerifierKey != w.key {
			t.Fatalf("proof of %s: %d bytes, %q, %v", at.Position, len(out.Bundle), out.VerifierKey, err)
		}
	}
	_, err = w.e.ListAudit(t.Context(), user, engine.AuditListInput{})
	wantCode(t, err, kms.CodeDenied)
	// A tenant's auditor does not see other tenants' records.
	for _, e := range w.records(audit.Filter{Namespace: kms.SystemNamespace}) {
		_, err := w.e.ProveRecord(t.Context(), auditor, engine.ProveInput{Position: e.Position.String()})
		if kms.CodeOf(err) == 0 {
			t.Fatalf("record %s of another namespace was proven to a tenant's auditor", e.Position)
		}
	}
}

// A rehearsal of what no policy decides finds what would go wrong, and does nothing.
func TestRehearsalOfTheCeremony(t *testing.T) {
	w := &world{t: t, dir: t.TempDir(), store: mem.Open(mem.Config{}), now: time.Now(), output: &bytes.Buffer{}}
	w.start()
	dry := local()
	dry.DryRun = true
	_, err := w.e.Init(t.Context(), dry, engine.InitInput{Shares: 3, Threshold: 2})
	wantCode(t, err, kms.CodeBadRequest)
	if _, err := w.e.Init(t.Context(), dry, engine.InitInput{Shares: 3, Threshold: 2, KeyFile: secret.Copy(bytes.Repeat([]byte{7}, 32))}); err != nil {
		t.Fatal(err)
	}
	if w.e.Status(t.Context()).Initialised {
		t.Fatal("a rehearsal initialised the server")
	}
	w = newWorld(t)
	_, err = w.e.Enroll(t.Context(), dry, engine.EnrollInput{Code: secret.Copy([]byte("wrong"))})
	wantCode(t, err, kms.CodeUnauthenticated)
	out, err := w.e.Enroll(t.Context(), dry, engine.EnrollInput{Code: w.code})
	if err != nil || out.Token.Len() != 0 {
		t.Fatalf("rehearsed enrolment: %d bytes of token, %v", out.Token.Len(), err)
	}
	minted, err := w.e.MintEnrollment(t.Context(), dry, engine.MintInput{Shares: w.shares})
	if err != nil || minted.Code.Len() != 0 {
		t.Fatalf("rehearsed code: %d bytes, %v", minted.Code.Len(), err)
	}
	if _, err := w.e.Enroll(t.Context(), local(), engine.EnrollInput{Code: w.code}); err != nil {
		t.Fatalf("the code after its rehearsal: %v", err)
	}
}
