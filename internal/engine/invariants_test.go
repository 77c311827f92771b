package engine_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider/soft"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/store"
	"github.com/keyhold/keyhold/internal/store/mem"
)

// faulty is the real log with faults: a record that is not written, and one that is written although the writer is told
// that it was not.
type faulty struct {
	*audit.Log
	fails     atomic.Bool
	persisted atomic.Bool
	before    func(*audit.Record) // runs before a record is appended
}

var errFault = errors.New("injected fault")

func (f *faulty) Append(r *audit.Record) (audit.Position, error) {
	if f.before != nil {
		f.before(r)
	}
	if f.fails.Load() && f.persisted.Load() {
		_, _ = f.Log.Append(r)
	}
	if f.fails.Load() {
		return audit.Position{}, errFault
	}
	return f.Log.Append(r)
}

func (f *faulty) AppendEncoded(body, annex []byte) (audit.Position, error) {
	if f.fails.Load() && f.persisted.Load() {
		_, _ = f.Log.AppendEncoded(body, annex)
	}
	if f.fails.Load() {
		return audit.Position{}, errFault
	}
	return f.Log.AppendEncoded(body, annex)
}

func withFaults(f *faulty) option {
	return func(c *engine.Config) {
		f.Log = c.Log
		c.Recorder = f
	}
}

// Invariant 2.
func TestNothingLeavesUnrecorded(t *testing.T) {
	f := &faulty{}
	w := newWorld(t, withFaults(f))
	w.create("k", kms.AES256GCM, 0)
	c := w.encrypt("k", "secret", nil)

	for _, persisted := range []bool{false, true} {
		f.persisted.Store(persisted)
		f.fails.Store(true)
		before := len(w.records(audit.Filter{Action: kms.Decrypt}))
		out, err := w.e.Decrypt(t.Context(), user, engine.DecryptInput{Items: []engine.DecryptItem{{Ciphertext: c}}})
		wantCode(t, err, kms.CodeAuditUnavailable)
		if len(out.Items) != 0 {
			t.Fatal("an output left without its record")
		}
		f.fails.Store(false)
		want := before
		if persisted {
			want++
		}
		if got := len(w.records(audit.Filter{Action: kms.Decrypt})); got != want {
			t.Fatalf("persisted=%v: %d records of Decrypt, want %d", persisted, got, want)
		}
	}

	// Denials, refusals and failures are recorded like successes.
	outsider := as("mallory")
	_, err := w.decrypt(outsider, c, nil)
	wantCode(t, err, kms.CodeDenied)
	_, err = w.decrypt(user, c, kms.Context{"wrong": "context"})
	wantCode(t, err, kms.CodeDecryptFailed)
	_, err = w.e.Encrypt(t.Context(), user, engine.EncryptInput{Key: "k"})
	wantCode(t, err, kms.CodeTooLarge)
	for outcome, name := range map[audit.Outcome]string{audit.Denied: "mallory", audit.Failed: "svc/orders", audit.Refused: "svc/orders"} {
		recs := w.records(audit.Filter{Outcome: outcome})
		if len(recs) != 1 || recs[0].Name != name || recs[0].Code == 0 {
			t.Fatalf("records with outcome %s: %+v", outcome, recs)
		}
	}

	// A caller that hangs up does not suppress the record.
	ctx, cancel := context.WithCancel(t.Context())
	before := len(w.records(audit.Filter{Action: kms.Decrypt, Outcome: audit.OK}))
	f.before = func(*audit.Record) { cancel() }
	_, _ = w.e.Decrypt(ctx, user, engine.DecryptInput{Items: []engine.DecryptItem{{Ciphertext: c}}})
	f.before = nil
	if got := len(w.records(audit.Filter{Action: kms.Decrypt, Outcome: audit.OK})); got != before+1 {
		t.Fatalf("%d records after hanging up, want %d", got, before+1)
	}
}

// Invariant 3: a change whose record did not get into the log stops everything until it has; after a crash it is found
// in the store and recorded, once.
func TestAChangeAndItsRecordAreOneTransaction(t *testing.T) {
	for _, persisted := range []bool{false, true} {
		f := &faulty{}
		w := newWorld(t, withFaults(f))
		w.create("old", kms.AES256GCM, 0)
		f.persisted.Store(persisted)
		f.fails.Store(true)
		_, err := w.e.CreateKey(t.Context(), admin, engine.CreateKeyInput{Name: "new", Algorithm: kms.AES256GCM})
		wantCode(t, err, kms.CodeUnrecorded)
		_, err = w.e.Encrypt(t.Context(), user, engine.EncryptInput{Key: "old", Items: []engine.EncryptItem{{}}})
		wantCode(t, err, kms.CodeAuditUnavailable)
		if h := w.e.Health(); h == nil || h.Code != kms.CodeAuditUnavailable {
			t.Fatalf("health while a record is owed: %v", h)
		}

		// A crash: the engine is dropped as it is, the store and the log are opened again.
		f.fails.Store(true)
		_ = w.e.Close(t.Context())
		f.fails.Store(false)
		if err := w.log.Close(); err != nil {
			t.Fatal(err)
		}
		w.start()
		w.unseal()
		creates := w.records(audit.Filter{Action: kms.CreateKey})
		if len(creates) != 2 {
			t.Fatalf("persisted=%v: %d records of CreateKey after recovery, want 2", persisted, len(creates))
		}
		if out, err := w.e.DescribeKey(t.Context(), user, engine.KeyInput{Key: "new"}); err != nil || out.Key.Name != "new" {
			t.Fatalf("the committed key: %+v %v", out, err)
		}
	}
}

func TestARefusedChangeLeavesNothing(t *testing.T) {
	w := newWorld(t)
	k := w.create("k", kms.AES256GCM, 0)
	w.create("other", kms.AES256GCM, 0)
	before, err := w.store.Confirm(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.e.CreateKey(t.Context(), admin, engine.CreateKeyInput{Name: "k", Algorithm: kms.AES256GCM})
	wantCode(t, err, kms.CodeExists)
	_, err = w.e.CreateKey(t.Context(), user, engine.CreateKeyInput{Name: "x", Algorithm: kms.AES256GCM})
	wantCode(t, err, kms.CodeDenied)
	taken := "other"
	_, err = w.e.UpdateKey(t.Context(), admin, engine.UpdateKeyInput{Key: "k", Name: &taken})
	wantCode(t, err, kms.CodeExists)
	after, err := w.store.Confirm(t.Context())
	if err != nil || after != before {
		t.Fatalf("the store moved from %v to %v (%v)", before.Rev, after.Rev, err)
	}
	// What is recorded is the refusal, not the change that was ready.
	for _, r := range w.records(audit.Filter{Code: kms.CodeExists}) {
		if r.Change || r.PrevChange != [32]byte{} || r.Outcome != audit.Refused ||
			r.Action == kms.CreateKey && len(r.Keys) > 0 || r.Action == kms.UpdateKey && (len(r.Keys) != 1 || r.Keys[0].Key != k.ID) {
			t.Errorf("got %+v", r)
		}
	}
}

// Invariant 4: the engine asks the one table. Every position of the switch × every operation.
func TestStateDecidesInOneTable(t *testing.T) {
	w := newWorld(t, func(c *engine.Config) { c.Dev = false })
	positions := map[string]func(kms.Ref){
		"enabled": func(kms.Ref) {},
		"disabled": func(r kms.Ref) {
			_, err := w.e.DisableKey(t.Context(), admin, engine.KeyInput{Key: r})
			wantCode(t, err, 0)
		},
		"suspended": func(r kms.Ref) {
			_, err := w.e.SuspendKey(t.Context(), admin, engine.KeyInput{Key: r})
			wantCode(t, err, 0)
		},
		"pending-destruction": func(r kms.Ref) {
			_, err := w.schedule(admin, engine.DestroyInput{Key: r})
			wantCode(t, err, 0)
		},
	}
	const disabled, suspended, pending = kms.CodeKeyDisabled, kms.CodeKeySuspended, kms.CodeKeyPendingDestruction
	protect := []string{"encrypt", "sign", "mac", "data-key", "re-encrypt", "rotate", "encapsulate", "wrap", "format", "data-key-pair"}
	process := []string{"decrypt", "verify", "verify-mac", "public", "derive", "decapsulate", "unwrap", "unformat"}
	refused := func(code kms.Code, names ...[]string) map[string]kms.Code {
		all := map[string]kms.Code{}
		for _, n := range slices.Concat(names...) {
			all[n] = code
		}
		return all
	}
	want := map[string]map[string]kms.Code{
		"enabled":             {},
		"disabled":            refused(disabled, protect, process),
		"suspended":           refused(suspended, protect),
		"pending-destruction": refused(pending, protect, process, []string{"update"}),
	}
	for position, put := range positions {
		aes, ec, mac := kms.Ref("aes/"+position), kms.Ref("ec/"+position), kms.Ref("mac/"+position)
		w.create(string(aes), kms.AES256GCM, 0)
		w.create(string(ec), kms.ECDSAP256, 0)
		w.create(string(mac), kms.HMACSHA256, 0)
		ciphertext := w.encrypt(string(aes), "x", nil)
		signed, err := w.e.Sign(t.Context(), user, engine.SignInput{Key: ec, Items: []engine.SignItem{{Message: []byte("m")}}})
		wantCode(t, err, 0)
		tag, err := w.e.GenerateMAC(t.Context(), user, engine.MACInput{Key: mac, Items: []engine.MACItem{{Message: []byte("m")}}})
		wantCode(t, err, 0)
		agree, kem, kek, ff1 := kms.Ref("agree/"+position), kms.Ref("kem/"+position), kms.Ref("kek/"+position), kms.Ref("ff1/"+position)
		w.create(string(agree), kms.ECDHP256, 0)
		w.create(string(kem), kms.MLKEM768, 0)
		w.create(string(kek), kms.AES256Wrap, 0)
		w.create(string(ff1), kms.AES256FF1, 0)
		peer, err := w.e.GetPublicKey(t.Context(), user, engine.PublicKeyInput{Key: agree})
		wantCode(t, err, 0)
		capsule, err := w.e.Encapsulate(t.Context(), user, engine.EncapsulateInput{Key: kem})
		wantCode(t, err, 0)
		wrapped, err := w.e.WrapKey(t.Context(), user, engine.WrapInput{Key: kek, Items: []engine.WrapItem{{Material: []byte("material")}}})
		wantCode(t, err, 0)
		for _, r := range []kms.Ref{aes, ec, mac, agree, kem, kek, ff1} {
			put(r)
		}
		label := "changed"
		ops := map[string]func() error{
			"encrypt": func() error {
				_, err := w.e.Encrypt(t.Context(), user, engine.EncryptInput{Key: aes, Items: []engine.EncryptItem{{Plaintext: []byte("x")}}})
				return err
			},
			"decrypt": func() error { _, err := w.decrypt(user, ciphertext, nil); return err },
			"data-key": func() error {
				_, err := w.e.GenerateDataKey(t.Context(), user, engine.DataKeyInput{Key: aes, Bytes: 32})
				return err
			},
			"re-encrypt": func() error {
				_, err := w.e.ReEncrypt(t.Context(), user, engine.ReEncryptInput{To: aes, Items: []engine.ReEncryptItem{{Ciphertext: ciphertext}}})
				return err
			},
			"sign": func() error {
				_, err := w.e.Sign(t.Context(), user, engine.SignInput{Key: ec, Items: []engine.SignItem{{Message: []byte("m")}}})
				return err
			},
			"verify": func() error {
				_, err := w.e.Verify(t.Context(), user, engine.VerifyInput{Key: ec, Items: []engine.VerifyItem{{Message: []byte("m"), Signature: signed.Items[0].Signature}}})
				return err
			},
			"mac": func() error {
				_, err := w.e.GenerateMAC(t.Context(), user, engine.MACInput{Key: mac, Items: []engine.MACItem{{Message: []byte("m")}}})
				return err
			},
			"verify-mac": func() error {
				_, err := w.e.VerifyMAC(t.Context(), user, engine.VerifyMACInput{Key: mac, Items: []engine.VerifyMACItem{{Message: []byte("m"), MAC: tag.Items[0].MAC}}})
				return err
			},
			"public": func() error {
				_, err := w.e.GetPublicKey(t.Context(), user, engine.PublicKeyInput{Key: ec})
				return err
			},
			"derive": func() error {
				return second(w.e.DeriveSharedSecret(t.Context(), user, engine.DeriveInput{Key: agree, PeerPublic: peer.DER}))
			},
			"encapsulate": func() error {
				return second(w.e.Encapsulate(t.Context(), user, engine.EncapsulateInput{Key: kem}))
			},
			"decapsulate": func() error {
				return second(w.e.Decapsulate(t.Context(), user, engine.DecapsulateInput{Key: kem, Ciphertext: capsule.Ciphertext}))
			},
			"wrap": func() error {
				return second(w.e.WrapKey(t.Context(), user, engine.WrapInput{Key: kek, Items: []engine.WrapItem{{Material: []byte("material")}}}))
			},
			"unwrap": func() error {
				return second(w.e.UnwrapKey(t.Context(), user, engine.WrapInput{Key: kek, Items: []engine.WrapItem{{Material: wrapped.Items[0].Wrapped}}}))
			},
			"format": func() error {
				return second(w.e.EncryptFormat(t.Context(), user, engine.FormatInput{Key: ff1, Items: []engine.FormatItem{{Text: []byte("123456")}}}))
			},
			"unformat": func() error {
				return second(w.e.DecryptFormat(t.Context(), user, engine.FormatInput{Key: ff1, Items: []engine.FormatItem{{Text: []byte("123456")}}}))
			},
			"data-key-pair": func() error {
				return second(w.e.GenerateDataKeyPair(t.Context(), user, engine.DataKeyPairInput{Key: aes, Algorithm: kms.Ed25519}))
			},
			"describe": func() error { _, err := w.e.DescribeKey(t.Context(), user, engine.KeyInput{Key: aes}); return err },
			"update": func() error {
				_, err := w.e.UpdateKey(t.Context(), admin, engine.UpdateKeyInput{Key: aes, Description: &label})
				return err
			},
			"rotate": func() error {
				_, err := w.e.RotateKey(t.Context(), admin, engine.RotateKeyInput{Key: aes})
				return err
			},
		}
		for _, name := range slices.Concat(protect, process) {
			if ops[name] == nil {
				t.Errorf("the table names %q, which is no operation here", name)
			}
		}
		for name, do := range ops {
			if got := kms.CodeOf(do()); got != want[position][name] {
				t.Errorf("%s of a key that is %s: got %v, want %v", name, position, got, want[position][name])
			}
		}
	}
}

// planted is a random source whose output can be searched for: blocks that never repeat, so that the health tests pass.
type planted struct {
	n    uint64
	used [][]byte
}

func (p *planted) Read(b []byte) (int, error) {
	for i := range b {
		p.n = p.n*6364136223846793005 + 1442695040888963407
		b[i] = byte(p.n >> 56)
	}
	if len(b) == 32 {
		p.used = append(p.used, bytes.Clone(b))
	}
	return len(b), nil
}

// Invariant 5: key material and what operations release are nowhere on disk, in the log, in an error or in an answer.
func TestPlaintextMaterialStaysInProviderAndSeal(t *testing.T) {
	source := &planted{n: 42}
	p, err := soft.New(soft.Config{Random: source})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(c *engine.Config) { c.Provider = p })
	w.create("k", kms.AES256GCM, 0)
	w.create("m", kms.HMACSHA256, 0)
	w.create("e", kms.Ed25519, 0)
	const plaintext = "PLAINTEXT-THAT-MUST-NOT-BE-STORED"
	c := w.encrypt("k", plaintext, kms.Context{"n": "v"})
	if _, err := w.decrypt(user, c, kms.Context{"n": "v"}); err != nil {
		t.Fatal(err)
	}
	_, err = w.decrypt(user, c, nil)
	wantCode(t, err, kms.CodeDecryptFailed)
	if _, err := w.e.GenerateDataKey(t.Context(), user, engine.DataKeyInput{Key: "k", Bytes: 32}); err != nil {
		t.Fatal(err)
	}
	if len(source.used) < 4 {
		t.Fatalf("only %d keys were planted", len(source.used))
	}
	var haystack []byte
	haystack = append(haystack, w.output.Bytes()...)
	var export bytes.Buffer
	if _, err := w.store.Export(t.Context(), &export); err != nil {
		t.Fatal(err)
	}
	haystack = append(haystack, export.Bytes()...)
	err = filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		haystack = append(haystack, b...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	needles := append([][]byte{[]byte(plaintext)}, source.used...)
	for _, n := range needles {
		for _, form := range [][]byte{n, []byte(hex.EncodeToString(n))} {
			if bytes.Contains(haystack, form) {
				t.Errorf("found %d bytes of a secret on disk, in the export or in the log", len(n))
			}
		}
	}
}

// Invariant 6.
func TestRecordsAreSealedAndBoundToTheirPlace(t *testing.T) {
	w := newWorld(t)
	a := w.create("a", kms.AES256GCM, 0)
	b := w.create("b", kms.AES256GCM, 0)
	at := func(kind byte, id kms.ID) store.Record {
		recs, _, err := w.store.Scan(t.Context(), []byte{kind}, nil, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range recs {
			if bytes.Contains(r.Key, id[:]) {
				return r
			}
		}
		t.Fatalf("no %c record of %s", kind, id)
		return store.Record{}
	}
	put := func(key, value []byte) {
		if _, err := w.store.Commit(t.Context(), store.Txn{Then: []store.Write{{Key: key, Value: value}}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, kind := range []byte{'K', 'V', 'R'} {
		mine, other := at(kind, a.ID), at(kind, b.ID)
		flipped := bytes.Clone(mine.Value)
		flipped[len(flipped)/2] ^= 1
		for name, value := range map[string][]byte{"moved": other.Value, "flipped": flipped, "cut": mine.Value[:40]} {
			put(mine.Key, value)
			w.restart()
			_, err := w.e.Encrypt(t.Context(), user, engine.EncryptInput{Key: "a", Items: []engine.EncryptItem{{}}})
			if kms.CodeOf(err) != kms.CodeRecordDamaged {
				t.Errorf("%c record %s: got %v, want %v", kind, name, err, kms.CodeRecordDamaged)
			}
			if out, err := w.e.CheckStore(t.Context(), operator()); err != nil || out.DamagedCount == 0 {
				t.Errorf("%c record %s: the check found %+v %v", kind, name, out, err)
			}
		}
		put(mine.Key, mine.Value)
	}
	w.restart()
	if out, err := w.e.CheckStore(t.Context(), operator()); err != nil || out.DamagedCount != 0 || out.Keys != 2 || out.Versions != 2 {
		t.Fatalf("after mending: %+v %v", out, err)
	}
}

// Invariant 7.
func TestAWrongKeyIsNeverUsedSilently(t *testing.T) {
	w := newWorld(t)
	w.create("a", kms.AES256GCM, 0)
	w.create("b", kms.AES256GCM, 0)
	c := w.encrypt("a", "x", nil)
	_, err := w.e.Decrypt(t.Context(), user, engine.DecryptInput{Key: "b", Items: []engine.DecryptItem{{Ciphertext: c}}})
	wantCode(t, err, kms.CodeWrongKey)
	// The version in the ciphertext is authenticated: another one does not open it.
	if _, err := w.e.RotateKey(t.Context(), admin, engine.RotateKeyInput{Key: "a"}); err != nil {
		t.Fatal(err)
	}
	forged := bytes.Clone(c)
	forged[21] = 2
	_, err = w.decrypt(user, forged, nil)
	wantCode(t, err, kms.CodeDecryptFailed)
	for i := range c {
		bad := bytes.Clone(c)
		bad[i] ^= 0x40
		if _, err := w.decrypt(user, bad, nil); err == nil {
			t.Fatalf("a ciphertext with byte %d changed was opened", i)
		}
	}
}

// Invariant 8: an old copy of everything that an ordinary backup holds, with the root key, does not bring back a key that
// was destroyed before the epoch rolled.
func TestDestroyedStaysDestroyed(t *testing.T) {
	w := newWorld(t)
	k := w.create("doomed", kms.AES256GCM, 0)
	w.create("kept", kms.AES256GCM, 0)
	c, kept := w.encrypt("doomed", "x", nil), w.encrypt("kept", "y", nil)
	if _, err := w.e.RotateKey(t.Context(), admin, engine.RotateKeyInput{Key: "doomed"}); err != nil {
		t.Fatal(err)
	}
	var backup bytes.Buffer
	if _, err := w.store.Export(t.Context(), &backup); err != nil {
		t.Fatal(err)
	}

	if _, err := w.schedule(admin, engine.DestroyInput{Key: "doomed", Window: 7 * 24 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(8 * 24 * time.Hour) // before the jobs begin to read the clock
	if err := w.e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		out, err := w.e.DescribeKey(t.Context(), user, engine.KeyInput{Key: kms.RefTo(k.ID)})
		if err != nil {
			t.Fatal(err)
		}
		if out.Key.Switch == kms.DestroyedKey {
			for _, v := range out.Versions {
				if v.State != kms.Destroyed {
					t.Fatalf("version %d is %s", v.Number, v.State)
				}
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the key is still %s after its window", out.Key.Switch)
		}
		time.Sleep(20 * time.Millisecond)
	}
	_, err := w.decrypt(user, c, nil)
	wantCode(t, err, kms.CodeKeyDestroyed)
	if _, err := w.e.RollEpoch(t.Context(), operator()); err != nil {
		t.Fatal(err)
	}
	if got, err := w.decrypt(user, kept, nil); err != nil || got != "y" {
		t.Fatalf("the other key after the roll: %q %v", got, err)
	}
	if n := len(w.records(audit.Filter{Action: kms.DestroyKey})); n < 2 {
		t.Fatalf("%d records of the destruction, want at least 2", n)
	}

	// The thief's try: the old store, with the shares, beside the epoch directory as it is now.
	w.stop()
	old, err := mem.Import(t.Context(), mem.Config{}, &backup)
	if err != nil {
		t.Fatal(err)
	}
	w.store = old
	w.start(func(c *engine.Config) { c.Restore = true })
	for _, s := range w.shares[:2] {
		if _, err = w.e.Unseal(t.Context(), local(), engine.UnsealInput{Share: s}); err != nil {
			break
		}
	}
	if err == nil {
		_, err = w.decrypt(user, c, nil)
	}
	if err == nil {
		t.Fatal("a destroyed key was brought back by an old copy of the store")
	}
	t.Logf("the old copy says: %v", err)
}

func TestAStoreBehindItsLogIsRefused(t *testing.T) {
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	var backup bytes.Buffer
	if _, err := w.store.Export(t.Context(), &backup); err != nil {
		t.Fatal(err)
	}
	if _, err := w.e.DisableKey(t.Context(), admin, engine.KeyInput{Key: "k"}); err != nil {
		t.Fatal(err)
	}
	w.create("another", kms.AES256GCM, 0)
	w.encryptAs("another")
	w.stop()
	old, err := mem.Import(t.Context(), mem.Config{}, bytes.NewReader(backup.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	w.store = old
	w.start()
	_, err = w.e.Unseal(t.Context(), local(), engine.UnsealInput{KeyFile: secret.Copy(bytes.Repeat([]byte{7}, 32))})
	wantCode(t, err, kms.CodeBehindItsLog)
	if !w.e.Status(t.Context()).Sealed {
		t.Fatal("the server opened a store that is behind its log")
	}
	w.stop()
	w.start(func(c *engine.Config) { c.Restore = true })
	w.unseal()
	recs := w.records(audit.Filter{Action: kms.UnsealServer})
	found := false
	for _, r := range recs {
		found = found || strings.HasPrefix(r.Detail, "restore accepted")
	}
	if !found {
		t.Fatal("the accepted restore is not on the record")
	}
}

func (w *world) encryptAs(name string) { w.encrypt(name, "x", nil) }

// Invariant 9.
func TestAtLeastTwoWaysBackIn(t *testing.T) {
	w := &world{t: t, dir: t.TempDir(), store: mem.Open(mem.Config{}), now: time.Now(), output: &bytes.Buffer{}}
	w.start()
	_, err := w.e.Init(t.Context(), local(), engine.InitInput{Shares: 3, Threshold: 2})
	if err == nil {
		t.Fatal("a root key with one recipient was accepted")
	}
	if w.e.Status(t.Context()).Initialised {
		t.Fatal("a refused init left something behind")
	}

	w = newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	c := w.encrypt("k", "x", nil)
	w.restart() // by shares
	if got, err := w.decrypt(user, c, nil); err != nil || got != "x" {
		t.Fatalf("after unsealing with shares: %q %v", got, err)
	}
	w.stop()
	w.start()
	if _, err := w.e.Unseal(t.Context(), local(), engine.UnsealInput{KeyFile: secret.Copy(bytes.Repeat([]byte{7}, 32))}); err != nil {
		t.Fatal(err)
	}
	if got, err := w.decrypt(user, c, nil); err != nil || got != "x" {
		t.Fatalf("after unsealing with the key file: %q %v", got, err)
	}
}

// Invariant 10.
func TestNothingIsUnbounded(t *testing.T) {
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	big := make([]byte, engine.MaxPlaintext+1)
	many := make([]engine.EncryptItem, engine.MaxItems+1)
	huge := make([]engine.EncryptItem, 100)
	for i := range huge {
		huge[i].Plaintext = big[:engine.MaxPlaintext]
	}
	labels := map[string]string{}
	for i := range kms.MaxLabels + 1 {
		labels[strings.Repeat("l", i+1)] = "v"
	}
	wide := kms.Context{}
	for i := range kms.MaxContextItems + 1 {
		wide[strings.Repeat("c", i+1)] = "v"
	}
	long := strings.Repeat("x", 300)
	for name, err := range map[string]error{
		"plaintext": second(w.e.Encrypt(t.Context(), user, engine.EncryptInput{Key: "k", Items: []engine.EncryptItem{{Plaintext: big}}})),
		"items":     second(w.e.Encrypt(t.Context(), user, engine.EncryptInput{Key: "k", Items: many})),
		"batch":     second(w.e.Encrypt(t.Context(), user, engine.EncryptInput{Key: "k", Items: huge})),
		"context":   second(w.e.Encrypt(t.Context(), user, engine.EncryptInput{Key: "k", Items: []engine.EncryptItem{{Context: wide}}})),
		"aad":       second(w.e.Encrypt(t.Context(), user, engine.EncryptInput{Key: "k", Items: []engine.EncryptItem{{AAD: big}}})),
		"random":    second(w.e.GenerateRandom(t.Context(), user, engine.RandomInput{Bytes: engine.MaxRandom + 1})),
		"data key":  second(w.e.GenerateDataKey(t.Context(), user, engine.DataKeyInput{Key: "k", Bytes: engine.MaxDataKey + 1})),
		"data keys": second(w.e.GenerateDataKey(t.Context(), user, engine.DataKeyInput{Key: "k", Bytes: 1, Count: engine.MaxItems + 1})),
		"message":   second(w.e.Sign(t.Context(), user, engine.SignInput{Key: "k", Items: []engine.SignItem{{Message: big}}})),
		"salt":      second(w.e.DeriveSharedSecret(t.Context(), user, engine.DeriveInput{Key: "k", PeerPublic: []byte{1}, KDF: engine.HKDFSHA256, Salt: big})),
		"info":      second(w.e.DeriveSharedSecret(t.Context(), user, engine.DeriveInput{Key: "k", PeerPublic: []byte{1}, KDF: engine.HKDFSHA256, Info: big})),
		"derived":   second(w.e.DeriveSharedSecret(t.Context(), user, engine.DeriveInput{Key: "k", PeerPublic: []byte{1}, KDF: engine.HKDFSHA256, Length: engine.MaxDerived + 1})),
		"material":  second(w.e.WrapKey(t.Context(), user, engine.WrapInput{Key: "k", Items: []engine.WrapItem{{Material: big[:engine.MaxWrap+1]}}})),
		"wrapped":   second(w.e.UnwrapKey(t.Context(), user, engine.WrapInput{Key: "k", Items: []engine.WrapItem{{Material: big[:engine.MaxWrap+16]}}})),
		"text":      second(w.e.EncryptFormat(t.Context(), user, engine.FormatInput{Key: "k", Items: []engine.FormatItem{{Text: big}}})),
		"tweak":     second(w.e.EncryptFormat(t.Context(), user, engine.FormatInput{Key: "k", Items: []engine.FormatItem{{Tweak: big[:engine.MaxTweak+1]}}})),
		"texts":     second(w.e.DecryptFormat(t.Context(), user, engine.FormatInput{Key: "k", Items: make([]engine.FormatItem, engine.MaxItems+1)})),
		"page":      second(w.e.ListKeys(t.Context(), user, engine.ListKeysInput{Limit: 100000})),
		"labels":    second(w.e.CreateKey(t.Context(), admin, engine.CreateKeyInput{Name: "l", Algorithm: kms.AES256GCM, Labels: labels})),
		"reason":    second(w.e.DescribeKey(t.Context(), func() kms.Call { c := user; c.Reason = long; return c }(), engine.KeyInput{Key: "k"})),
		"token":     second(w.e.DescribeKey(t.Context(), func() kms.Call { c := user; c.Token = long; return c }(), engine.KeyInput{Key: "k"})),
	} {
		if got := kms.CodeOf(err); got != kms.CodeTooLarge {
			t.Errorf("%s: got %v, want %v", name, err, kms.CodeTooLarge)
		}
	}
}

func second[T any](_ T, err error) error { return err }
