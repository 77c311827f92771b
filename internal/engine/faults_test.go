package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/store"
	"github.com/keyhold/keyhold/internal/store/mem"
)

// badStore is a store with faults.
type badStore struct {
	store.Store
	mode atomic.Int32
	left atomic.Int32 // conflicts still to come
	mu   sync.Mutex   // guards seen
	seen map[store.Token]bool
}

// What goes wrong with a commit.
const (
	storeWorks     = int32(iota)
	storeFull      // nothing is written
	unknownDone    // it is, but nobody says so: asking again tells
	unknownNotDone // it is not, and nobody says so
	storeConflict  // another came first
)

func (s *badStore) Commit(ctx context.Context, t store.Txn) (store.Rev, error) {
	mode := s.mode.Load()
	s.mu.Lock()
	again := s.seen[t.Token]
	s.seen[t.Token] = true
	s.mu.Unlock()
	switch {
	case mode == storeFull:
		return 0, store.ErrFull
	case mode == storeConflict && len(t.If) > 0 && s.left.Add(-1) >= 0:
		return 0, store.ErrConflict
	case mode == unknownDone && !again:
		if _, err := s.Store.Commit(ctx, t); err != nil {
			return 0, err
		}
		return 0, store.ErrUnknown
	case mode == unknownNotDone && !again:
		return 0, store.ErrUnknown
	}
	return s.Store.Commit(ctx, t)
}

// A trial prepares one operation that has not been done yet, and answers what does it.
type trial func(w *world, name string) func() (any, error)

// onKey is a trial on a key of its own.
func onKey[Out any](a kms.Algorithm, do func(w *world, key kms.Ref, n string) (Out, error)) trial {
	return func(w *world, n string) func() (any, error) {
		w.create(n, a, 0)
		return func() (any, error) { return do(w, kms.Ref(n), n) }
	}
}

// plain is a trial that needs nothing.
func plain[Out any](do func(w *world, n string) (Out, error)) trial {
	return func(w *world, n string) func() (any, error) {
		return func() (any, error) { return do(w, n) }
	}
}

// after is a trial that goes on from something that was done.
func after[In, Out any](first func(w *world, n string) (In, error), do func(w *world, in In) (Out, error)) trial {
	return func(w *world, n string) func() (any, error) {
		in, err := first(w, n)
		if err != nil {
			w.t.Fatal(err)
		}
		return func() (any, error) { return do(w, in) }
	}
}

var carol = as("carol", kms.RoleAuditor)

// sealedWith makes a key and a ciphertext.
func sealedWith(w *world, n string) ([]byte, error) {
	w.create(n, kms.AES256GCM, 0)
	return w.encrypt(n, "secret", nil), nil
}

func newToken(w *world, n string) (engine.CreateTokenOutput, error) {
	return w.e.CreateToken(w.t.Context(), admin, engine.CreateTokenInput{Principal: "svc/" + n, Roles: []kms.Role{kms.RoleUser}})
}

func newCredential(w *world, n string) (engine.CredentialOutput, error) {
	return w.e.CreateCredential(w.t.Context(), admin, engine.CreateCredentialInput{Subject: "spiffe://x/" + n, Principal: "svc/" + n})
}

const aPolicy = `permit (principal == Principal::"svc/nobody", action == Action::"Encrypt", resource);`

func newPolicy(w *world, n string) (engine.PolicyOutput, error) {
	return w.e.PutPolicy(w.t.Context(), admin, engine.PutPolicyInput{ID: n, Text: aPolicy})
}

// trials do every action once. What changes something is in changing.
var trials = map[kms.Action]trial{
	kms.Encrypt: onKey(kms.AES256GCM, func(w *world, k kms.Ref, _ string) (engine.EncryptOutput, error) {
		return w.e.Encrypt(w.t.Context(), user, engine.EncryptInput{Key: k, Items: []engine.EncryptItem{{Plaintext: []byte("x")}}})
	}),
	kms.Decrypt: after(sealedWith, func(w *world, c []byte) (engine.DecryptOutput, error) {
		return w.e.Decrypt(w.t.Context(), user, engine.DecryptInput{Items: []engine.DecryptItem{{Ciphertext: c}}})
	}),
	kms.GenerateDataKey: onKey(kms.AES256GCM, func(w *world, k kms.Ref, _ string) (engine.DataKeyOutput, error) {
		return w.e.GenerateDataKey(w.t.Context(), user, engine.DataKeyInput{Key: k, Bytes: 32})
	}),
	kms.GenerateDataKeyPair: onKey(kms.AES256GCM, func(w *world, k kms.Ref, _ string) (engine.DataKeyPairOutput, error) {
		return w.e.GenerateDataKeyPair(w.t.Context(), user, engine.DataKeyPairInput{Key: k, Algorithm: kms.Ed25519})
	}),
	kms.Sign: onKey(kms.ECDSAP256, func(w *world, k kms.Ref, _ string) (engine.SignOutput, error) {
		return w.e.Sign(w.t.Context(), user, engine.SignInput{Key: k, Items: []engine.SignItem{{Message: []byte("m")}}})
	}),
	kms.GenerateMAC: onKey(kms.HMACSHA256, func(w *world, k kms.Ref, _ string) (engine.MACOutput, error) {
		return w.e.GenerateMAC(w.t.Context(), user, engine.MACInput{Key: k, Items: []engine.MACItem{{Message: []byte("m")}}})
	}),
	kms.GetPublicKey: onKey(kms.ECDSAP256, func(w *world, k kms.Ref, _ string) (engine.PublicKeyOutput, error) {
		return w.e.GetPublicKey(w.t.Context(), user, engine.PublicKeyInput{Key: k})
	}),
	kms.Encapsulate: onKey(kms.MLKEM768, func(w *world, k kms.Ref, _ string) (engine.EncapsulateOutput, error) {
		return w.e.Encapsulate(w.t.Context(), user, engine.EncapsulateInput{Key: k})
	}),
	kms.WrapKey: onKey(kms.AES256Wrap, func(w *world, k kms.Ref, _ string) (engine.WrapOutput, error) {
		return w.e.WrapKey(w.t.Context(), user, engine.WrapInput{Key: k, Items: []engine.WrapItem{{Material: []byte("material")}}})
	}),
	kms.EncryptFormat: onKey(kms.AES256FF1, func(w *world, k kms.Ref, _ string) (engine.EncryptFormatOutput, error) {
		return w.e.EncryptFormat(w.t.Context(), user, engine.FormatInput{Key: k, Items: []engine.FormatItem{{Text: []byte("123456")}}})
	}),
	kms.DecryptFormat: onKey(kms.AES256FF1, func(w *world, k kms.Ref, _ string) (engine.DecryptFormatOutput, error) {
		return w.e.DecryptFormat(w.t.Context(), user, engine.FormatInput{Key: k, Items: []engine.FormatItem{{Text: []byte("123456")}}})
	}),
	kms.GenerateRandom: plain(func(w *world, _ string) (engine.RandomOutput, error) {
		return w.e.GenerateRandom(w.t.Context(), user, engine.RandomInput{Bytes: 32})
	}),
	kms.DescribeKey: onKey(kms.AES256GCM, func(w *world, k kms.Ref, _ string) (engine.KeyOutput, error) {
		return w.e.DescribeKey(w.t.Context(), user, engine.KeyInput{Key: k})
	}),
	kms.ListKeys: plain(func(w *world, _ string) (engine.ListKeysOutput, error) {
		return w.e.ListKeys(w.t.Context(), user, engine.ListKeysInput{})
	}),
	kms.ReadAudit: plain(func(w *world, _ string) (engine.AuditListOutput, error) {
		return w.e.ListAudit(w.t.Context(), carol, engine.AuditListInput{})
	}),
	kms.ReadPolicy: plain(func(w *world, _ string) (engine.PoliciesOutput, error) {
		return w.e.ListPolicies(w.t.Context(), admin, engine.PageInput{})
	}),
	kms.ReadToken: plain(func(w *world, _ string) (engine.TokensOutput, error) {
		return w.e.ListTokens(w.t.Context(), admin, engine.PageInput{})
	}),
	kms.ReadCredential: plain(func(w *world, _ string) (engine.CredentialsOutput, error) {
		return w.e.ListCredentials(w.t.Context(), admin, engine.PageInput{})
	}),
	kms.CheckStore: plain(func(w *world, _ string) (engine.CheckStoreOutput, error) {
		return w.e.CheckStore(w.t.Context(), operator())
	}),
	kms.ExportStore: plain(func(w *world, _ string) (int, error) {
		var b bytes.Buffer
		_, err := w.e.ExportStore(w.t.Context(), operator(), &b)
		return b.Len(), err
	}),
	kms.CreateKey: plain(func(w *world, n string) (engine.KeyOutput, error) {
		return w.e.CreateKey(w.t.Context(), admin, engine.CreateKeyInput{Name: n, Algorithm: kms.AES256GCM})
	}),
	kms.RotateKey: onKey(kms.AES256GCM, func(w *world, k kms.Ref, _ string) (engine.KeyOutput, error) {
		return w.e.RotateKey(w.t.Context(), admin, engine.RotateKeyInput{Key: k})
	}),
	kms.UpdateKey: onKey(kms.AES256GCM, func(w *world, k kms.Ref, n string) (engine.KeyOutput, error) {
		return w.e.UpdateKey(w.t.Context(), admin, engine.UpdateKeyInput{Key: k, Description: &n})
	}),
	kms.DisableKey: onKey(kms.AES256GCM, func(w *world, k kms.Ref, _ string) (engine.KeyOutput, error) {
		return w.e.DisableKey(w.t.Context(), admin, engine.KeyInput{Key: k})
	}),
	kms.SuspendKey: onKey(kms.AES256GCM, func(w *world, k kms.Ref, _ string) (engine.KeyOutput, error) {
		return w.e.SuspendKey(w.t.Context(), admin, engine.KeyInput{Key: k})
	}),
	kms.ScheduleKeyDestruction: after(func(w *world, n string) (kms.Ref, error) {
		w.create(n, kms.AES256GCM, 0)
		w.assess(kms.Ref(n))
		return kms.Ref(n), nil
	}, func(w *world, k kms.Ref) (engine.KeyOutput, error) {
		return w.e.ScheduleKeyDestruction(w.t.Context(), admin, engine.DestroyInput{Key: k})
	}),
	kms.CreateToken:      plain(newToken),
	kms.CreateCredential: plain(newCredential),
	kms.PutPolicy:        plain(newPolicy),
	kms.RevokeToken: after(newToken, func(w *world, in engine.CreateTokenOutput) (engine.TokenOutput, error) {
		return w.e.RevokeToken(w.t.Context(), admin, engine.IDInput{ID: in.Info.ID})
	}),
	kms.RevokeCredential: after(newCredential, func(w *world, in engine.CredentialOutput) (engine.CredentialOutput, error) {
		return w.e.RevokeCredential(w.t.Context(), admin, engine.SubjectInput{Subject: in.Credential.Subject})
	}),
	kms.DeletePolicy: after(newPolicy, func(w *world, in engine.PolicyOutput) (engine.PolicyOutput, error) {
		return w.e.DeletePolicy(w.t.Context(), admin, engine.PolicyInput{ID: in.Policy.ID})
	}),
	kms.CreateNamespace: plain(func(w *world, n string) (engine.NamespaceOutput, error) {
		return w.e.CreateNamespace(w.t.Context(), operator(), engine.NamespaceInput{Name: kms.Namespace(n)})
	}),
	kms.UpdateNamespace: plain(func(w *world, n string) (engine.NamespaceOutput, error) {
		return w.e.UpdateNamespace(w.t.Context(), admin, engine.NamespaceInput{Name: kms.DefaultNamespace, Description: &n})
	}),
	kms.ReadNamespace: plain(func(w *world, _ string) (engine.NamespaceOutput, error) {
		return w.e.DescribeNamespace(w.t.Context(), admin, engine.NamespaceInput{Name: kms.DefaultNamespace})
	}),
	kms.ReEncrypt: after(sealedWith, func(w *world, c []byte) (engine.ReEncryptOutput, error) {
		return w.e.ReEncrypt(w.t.Context(), user, engine.ReEncryptInput{To: "target", Items: []engine.ReEncryptItem{{Ciphertext: c}}})
	}),
	kms.GenerateDataKeyWithoutPlaintext: onKey(kms.AES256GCM, func(w *world, k kms.Ref, _ string) (engine.DataKeyOutput, error) {
		return w.e.GenerateDataKey(w.t.Context(), user, engine.DataKeyInput{Key: k, Bytes: 32, WithoutPlaintext: true})
	}),
	kms.GenerateDataKeyPairWithoutPlaintext: onKey(kms.AES256GCM, func(w *world, k kms.Ref, _ string) (engine.DataKeyPairOutput, error) {
		return w.e.GenerateDataKeyPair(w.t.Context(), user, engine.DataKeyPairInput{Key: k, Algorithm: kms.Ed25519, WithoutPlaintext: true})
	}),
	kms.Verify: after(func(w *world, n string) (engine.SignOutput, error) {
		w.create(n, kms.ECDSAP256, 0)
		return w.e.Sign(w.t.Context(), user, engine.SignInput{Key: kms.Ref(n), Items: []engine.SignItem{{Message: []byte("m")}}})
	}, func(w *world, in engine.SignOutput) (engine.VerifyOutput, error) {
		return w.e.Verify(w.t.Context(), user, engine.VerifyInput{Key: kms.RefTo(in.Key), Items: []engine.VerifyItem{{Message: []byte("m"), Signature: in.Items[0].Signature}}})
	}),
	kms.VerifyMAC: after(func(w *world, n string) (engine.MACOutput, error) {
		w.create(n, kms.HMACSHA256, 0)
		return w.e.GenerateMAC(w.t.Context(), user, engine.MACInput{Key: kms.Ref(n), Items: []engine.MACItem{{Message: []byte("m")}}})
	}, func(w *world, in engine.MACOutput) (engine.VerifyOutput, error) {
		return w.e.VerifyMAC(w.t.Context(), user, engine.VerifyMACInput{Key: kms.RefTo(in.Key), Items: []engine.VerifyMACItem{{Message: []byte("m"), MAC: in.Items[0].MAC}}})
	}),
	kms.DeriveSharedSecret: after(func(w *world, n string) (engine.PublicKeyOutput, error) {
		w.create(n, kms.ECDHP256, 0)
		return w.e.GetPublicKey(w.t.Context(), user, engine.PublicKeyInput{Key: kms.Ref(n)})
	}, func(w *world, in engine.PublicKeyOutput) (engine.SharedSecret, error) {
		return w.e.DeriveSharedSecret(w.t.Context(), user, engine.DeriveInput{Key: kms.RefTo(in.Key), PeerPublic: in.DER})
	}),
	kms.Decapsulate: after(func(w *world, n string) (engine.EncapsulateOutput, error) {
		w.create(n, kms.MLKEM768, 0)
		return w.e.Encapsulate(w.t.Context(), user, engine.EncapsulateInput{Key: kms.Ref(n)})
	}, func(w *world, in engine.EncapsulateOutput) (engine.SharedSecret, error) {
		return w.e.Decapsulate(w.t.Context(), user, engine.DecapsulateInput{Key: kms.RefTo(in.Key), Ciphertext: in.Ciphertext})
	}),
	kms.UnwrapKey: after(func(w *world, n string) (engine.WrapOutput, error) {
		w.create(n, kms.AES256Wrap, 0)
		return w.e.WrapKey(w.t.Context(), user, engine.WrapInput{Key: kms.Ref(n), Items: []engine.WrapItem{{Material: []byte("material")}}})
	}, func(w *world, in engine.WrapOutput) (engine.UnwrapOutput, error) {
		return w.e.UnwrapKey(w.t.Context(), user, engine.WrapInput{Key: kms.RefTo(in.Key), Items: []engine.WrapItem{{Material: in.Items[0].Wrapped}}})
	}),
	kms.EnableKey: after(func(w *world, n string) (engine.KeyOutput, error) {
		w.create(n, kms.AES256GCM, 0)
		return w.e.DisableKey(w.t.Context(), admin, engine.KeyInput{Key: kms.Ref(n)})
	}, func(w *world, in engine.KeyOutput) (engine.KeyOutput, error) {
		return w.e.EnableKey(w.t.Context(), admin, engine.KeyInput{Key: kms.RefTo(in.Key.ID)})
	}),
	kms.ResumeKey: after(func(w *world, n string) (engine.KeyOutput, error) {
		w.create(n, kms.AES256GCM, 0)
		return w.e.SuspendKey(w.t.Context(), admin, engine.KeyInput{Key: kms.Ref(n)})
	}, func(w *world, in engine.KeyOutput) (engine.KeyOutput, error) {
		return w.e.ResumeKey(w.t.Context(), admin, engine.KeyInput{Key: kms.RefTo(in.Key.ID)})
	}),
	kms.CancelKeyDestruction: after(func(w *world, n string) (engine.KeyOutput, error) {
		w.create(n, kms.AES256GCM, 0)
		return w.schedule(admin, engine.DestroyInput{Key: kms.Ref(n)})
	}, func(w *world, in engine.KeyOutput) (engine.KeyOutput, error) {
		return w.e.CancelKeyDestruction(w.t.Context(), admin, engine.CancelInput{Key: kms.RefTo(in.Key.ID)})
	}),
	kms.DeactivateVersion: after(func(w *world, n string) (engine.KeyOutput, error) {
		w.create(n, kms.AES256GCM, 0)
		return w.e.RotateKey(w.t.Context(), admin, engine.RotateKeyInput{Key: kms.Ref(n)})
	}, func(w *world, in engine.KeyOutput) (engine.KeyOutput, error) {
		return w.e.DeactivateVersion(w.t.Context(), admin, engine.DeactivateInput{Key: kms.RefTo(in.Key.ID), Version: 1})
	}),
	kms.TestPolicy: plain(func(w *world, n string) (engine.PolicyOutput, error) {
		return w.e.CheckPolicy(w.t.Context(), admin, engine.PutPolicyInput{ID: n, Text: aPolicy})
	}),
	kms.ReadJobs: plain(func(w *world, _ string) (engine.JobsOutput, error) {
		return w.e.Jobs(w.t.Context(), operator(), engine.JobsInput{})
	}),
	kms.ReadHealth: plain(func(w *world, _ string) (engine.Status, error) { return w.e.ReadHealth(w.t.Context(), operator()) }),
	kms.WhoAmI:     plain(func(w *world, _ string) (engine.WhoAmIOutput, error) { return w.e.WhoAmI(w.t.Context(), user) }),
}

// elsewhere are the actions that are no single call, each with what stands for it.
var elsewhere = map[kms.Action]string{

	kms.ReEncryptFrom: "a role of ReEncrypt", kms.ReEncryptTo: "a role of ReEncrypt",
	kms.DestroyKey: "done by the system when a window ends: the model plays it", kms.RollEpoch: "several transactions: the model plays it", kms.RotateRoot: "several transactions: the model plays it",
	kms.StartServer: "the log's first record", kms.StopServer: "the log's last record", kms.Withhold: "recorded instead of an output", kms.Authenticate: "a record without an operation",
	kms.InitServer: "makes what the others need", kms.UnsealServer: "the same", kms.SealServer: "ends the engine's use of the store", kms.EnrollAdministrator: "before anybody is known", kms.MintEnrollment: "the same",
	kms.RetireAudit: "works on the log itself", kms.EraseAudit: "works on the log itself", kms.ConfirmClock: "needs a clock that jumped",
}

// onceFaulty is the real log, which does not take one record, or takes it and says that it did not.
type onceFaulty struct {
	*audit.Log
	fails, persisted atomic.Bool
}

func (f *onceFaulty) fault(really func() (audit.Position, error)) (audit.Position, error) {
	if !f.fails.CompareAndSwap(true, false) {
		return really()
	}
	if f.persisted.Load() {
		_, _ = really()
	}
	return audit.Position{}, errFault
}

func (f *onceFaulty) Append(r *audit.Record) (audit.Position, error) {
	return f.fault(func() (audit.Position, error) { return f.Log.Append(r) })
}

func (f *onceFaulty) AppendEncoded(body, annex []byte) (audit.Position, error) {
	return f.fault(func() (audit.Position, error) { return f.Log.AppendEncoded(body, annex) })
}

// newest answers the records of an action that came since a number of them.
func (w *world) since(a kms.Action, before int) []audit.Entry {
	all := w.records(audit.Filter{Action: a})
	return all[:len(all)-before]
}

// joined is one table of several.
func joined[V any](tables ...map[kms.Action]V) map[kms.Action]V {
	all := map[kms.Action]V{}
	for _, t := range tables {
		maps.Copy(all, t)
	}
	return all
}

// TestEveryActionUnderEveryFault does every action while the log or the store fails at each step: no output without its record, no record of a change
// that is not there, no change without its record.
func TestEveryActionUnderEveryFault(t *testing.T) {
	trials, elsewhere := joined(trials, statesTrials, approvalTrials, rotationTrials, usageTrials, destructionTrials, transferTrials, datakeysTrials, inventoryTrials, regionTrials, credsTrials, keyPolicyTrials, secretTrials, loginTrials), joined(elsewhere, statesElsewhere, approvalElsewhere, rotationElsewhere, usageElsewhere, destructionElsewhere, transferElsewhere, datakeysElsewhere, regionElsewhere, credsElsewhere)
	for _, a := range kms.AllActions() {
		_, tried := trials[a]
		if _, not := elsewhere[a]; tried == not {
			t.Errorf("%s: has a trial: %v, stands elsewhere: %v; want one of them", a, tried, not)
		}
	}
	for _, fault := range []struct {
		name      string
		store     int32
		log, kept bool // the log fails; although it has kept the record
	}{
		{"none", storeWorks, false, false}, {"the log fails", storeWorks, true, false}, {"the log fails and keeps it", storeWorks, true, true},
		{"the store is full", storeFull, false, false}, {"outcome unknown, done", unknownDone, false, false},
		{"outcome unknown, not done", unknownNotDone, false, false}, {"a conflict", storeConflict, false, false},
	} {
		t.Run(fault.name, func(t *testing.T) {
			st := &badStore{Store: mem.Open(mem.Config{}), seen: make(map[store.Token]bool)}
			f := &onceFaulty{}
			opt := func(c *engine.Config) { f.Log, c.Recorder = c.Log, f }
			w := newWorldOn(t, st, opt)
			if err := w.e.Start(t.Context()); err != nil { // it pays what is owed
				t.Fatal(err)
			}
			w.create("target", kms.AES256GCM, 0)
			for _, a := range kms.AllActions() {
				prepare, ok := trials[a]
				if !ok {
					continue
				}
				do := prepare(w, strings.ToLower(a.String()))
				before := len(w.records(audit.Filter{Action: a}))
				head, err := st.Confirm(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				f.persisted.Store(fault.kept)
				f.fails.Store(fault.log)
				st.left.Store(3)
				st.mode.Store(fault.store)
				out, err := do()
				st.mode.Store(storeWorks)
				f.fails.Store(false)
				if err != nil && !empty(out) && a != kms.ExportStore {
					t.Errorf("%s: %v, and an output: %+v", a, err, out)
				}
				if n, ok := out.(int); ok && err != nil && n > 0 {
					t.Errorf("%s: %v, and %d bytes left", a, err, n)
				}
				done := 0
				change := false
				for _, r := range w.eventually(a, before) {
					if r.Outcome == audit.OK {
						done++
						change = change || r.Change
					}
				}
				code := kms.CodeOf(err)
				switch {
				case !fault.log && fault.store != storeFull || fault.store == storeFull && err == nil:
					if err != nil || done != 1 {
						t.Errorf("%s: %v, %d records of success; want none, 1", a, err, done)
					}
					if change && fault.store == storeFull {
						t.Errorf("%s: changed a full store", a)
					}
				case fault.store == storeFull:
					now, cerr := st.Confirm(t.Context())
					if done != 0 || cerr != nil || now.Rev != head.Rev || code != kms.CodeDiskFull && code != kms.CodeStoreUnavailable {
						t.Errorf("%s: %v, %d records of success, head from %d to %d: want a full store, no record, no change", a, err, done, head.Rev, now.Rev)
					}
				case code == kms.CodeUnrecorded: // a change that is committed: its record comes, if late
					if done < 1 || done > 1 && !fault.kept {
						t.Errorf("%s: committed, %d records of it", a, done)
					}
				case code == kms.CodeAuditUnavailable:
					if want := map[bool]int{false: 0, true: 1}[fault.kept]; done != want {
						t.Errorf("%s: %d records, want %d", a, done, want)
					}
				default:
					t.Errorf("%s: got %v while the log does not take its record", a, err)
				}
			}
		})
	}
}

// eventually answers the new records of an action once nothing is owed any more.
func (w *world) eventually(a kms.Action, before int) []audit.Entry {
	w.t.Helper()
	for end := time.Now().Add(10 * time.Second); w.e.Health() != nil; {
		if time.Now().After(end) {
			w.t.Fatalf("%s: %v", a, w.e.Health())
		}
		time.Sleep(time.Millisecond)
	}
	return w.since(a, before)
}

// empty tells whether nothing is in an output, not even behind its pointers.
func empty(out any) bool {
	v := reflect.ValueOf(out)
	if v.IsZero() {
		return true
	}
	if v.Kind() != reflect.Struct {
		return false
	}
	for i := range v.NumField() {
		if f := v.Field(i); !f.IsZero() && (f.Kind() != reflect.Slice || f.Len() > 0) {
			return false
		}
	}
	return true
}

// hollow is a store whose records are whole, and whose feed is not.
type hollow struct{ store.Store }

func (hollow) Check(context.Context, func(store.Record) error) error {
	return fmt.Errorf("feed row 7: %w", store.ErrDamaged)
}

func TestTheCheckReadsWhatLiesBesideTheRecords(t *testing.T) {
	w := newWorldOn(t, hollow{mem.Open(mem.Config{})})
	out, err := w.e.CheckStore(t.Context(), operator())
	if err != nil || out.DamagedCount != 1 || len(out.Damaged) != 1 || !strings.Contains(out.Damaged[0], "feed row 7") {
		t.Errorf("got %+v, %v; want the feed to be named", out, err)
	}
}
