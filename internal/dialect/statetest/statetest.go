// Package statetest holds every dialect to the table of package lifecycle: each operation that a dialect has is tried on keys in every
// position of the switch, with versions in every state and under every preset, and must be permitted or refused as the table says.
//
// A dialect adds a Dialect: how it does each operation, and with which code it was refused.
package statetest

import (
	"bytes"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
)

// Server is a running server, and a clock that is set by hand.
type Server struct {
	Engine *engine.Engine
	Admin  kms.Call // manages keys and policies in the default namespace
	User   kms.Call // uses them
	Pass   func(time.Duration)
}

// Case is a key to do one operation with.
type Case struct {
	Key     kms.ID
	Version uint32 // whose state is tried: operations that can name a version name it
	Other   string // another key, that encrypts
	Made    []byte // what undoes or verifies: a ciphertext, a signature, a MAC, wrapped material, a peer's public key, a text
}

// Message is what was encrypted, signed or wrapped.
var Message = []byte("0123456789")

// Dialect does operations, and answers the code that each was refused with, 0 if it was not. An operation that it does not have is not there.
type Dialect map[kms.Action]func(testing.TB, Case) kms.Code

// An Operation is what the table says of an action.
type Operation struct {
	Action    kms.Action
	Algorithm kms.Algorithm
	Need      lifecycle.Need
	Primary   bool // it cannot name a version: it uses the primary one
}

// Operations are all that use a key. What each needs is written down here once more, apart from the engine.
func Operations() []Operation {
	return []Operation{
		{kms.Encrypt, kms.AES256GCM, lifecycle.Protect, false}, {kms.Decrypt, kms.AES256GCM, lifecycle.Process, false},
		{kms.ReEncryptFrom, kms.AES256GCM, lifecycle.Process, false}, {kms.ReEncryptTo, kms.AES256GCM, lifecycle.Protect, true},
		{kms.GenerateDataKey, kms.AES256GCM, lifecycle.Protect, true}, {kms.GenerateDataKeyPair, kms.AES256GCM, lifecycle.Protect, true},
		{kms.Sign, kms.Ed25519, lifecycle.Protect, false}, {kms.Verify, kms.Ed25519, lifecycle.Process, false}, {kms.GetPublicKey, kms.Ed25519, lifecycle.Publish, false},
		{kms.GenerateMAC, kms.HMACSHA256, lifecycle.Protect, false}, {kms.VerifyMAC, kms.HMACSHA256, lifecycle.Process, false},
		{kms.DeriveSharedSecret, kms.ECDHP256, lifecycle.Process, false},
		{kms.Encapsulate, kms.MLKEM768, lifecycle.Protect, false}, {kms.Decapsulate, kms.MLKEM768, lifecycle.Process, false},
		{kms.WrapKey, kms.AES256Wrap, lifecycle.Protect, false}, {kms.UnwrapKey, kms.AES256Wrap, lifecycle.Process, false},
		{kms.EncryptFormat, kms.AES256FF1, lifecycle.Protect, true}, {kms.DecryptFormat, kms.AES256FF1, lifecycle.Process, false},
		{kms.DescribeKey, kms.AES256GCM, lifecycle.Read, true}, {kms.UpdateKey, kms.AES256GCM, lifecycle.Manage, true},
	}
}

// trial is one run.
type trial struct {
	testing.TB
	s     Server
	d     Dialect
	n     int
	cells int
	keys  map[kms.Algorithm][]Case // that are destroyed at the end
}

// Run tries everything.
func Run(t *testing.T, s Server, d Dialect) {
	r := &trial{TB: t, s: s, d: d, keys: map[kms.Algorithm][]Case{}}
	r.create("other", kms.AES256GCM, engine.CreateKeyInput{})
	byAlgorithm := map[kms.Algorithm][]Operation{}
	for _, o := range Operations() {
		if d[o.Action] != nil {
			byAlgorithm[o.Algorithm] = append(byAlgorithm[o.Algorithm], o)
		}
	}
	for _, allowed := range []bool{false, true} {
		if allowed {
			r.must(second(s.Engine.PutPolicy(t.Context(), s.Admin, engine.PutPolicyInput{ID: "incident", Text: `permit (principal, action == Action::"ProcessCompromised", resource);`})))
		}
		for a, ops := range byAlgorithm {
			for _, st := range []kms.State{kms.PreActive, kms.Active, kms.Suspended, kms.Deactivated, kms.Archived, kms.Compromised} {
				if allowed && st != kms.Compromised {
					continue
				}
				for _, terms := range presets(a) {
					terms.Compromised = allowed
					r.state(a, st, terms, ops)
				}
			}
		}
	}
	for a, ops := range byAlgorithm {
		c := r.create("", a, engine.CreateKeyInput{Import: true})
		c.Made = r.made(r.create("", a, engine.CreateKeyInput{}), a)
		r.compare(c, kms.PendingImport, kms.Active, lifecycle.Terms{}, ops, kms.Active)
	}
	r.destroyed(byAlgorithm)
	if want := len(d) * (6*4 + 2); r.cells < want {
		t.Errorf("%d cells were tried, want %d at least", r.cells, want)
	}
}

// presets are the presets that keys of an algorithm are tried with: all of them for one that encrypts and one that signs, and, with
// KEYHOLD_LONG, for every one.
func presets(a kms.Algorithm) []lifecycle.Terms {
	if a != kms.AES256GCM && a != kms.Ed25519 && os.Getenv("KEYHOLD_LONG") != "1" {
		return []lifecycle.Terms{{}}
	}
	return []lifecycle.Terms{{}, {Freeze: true}, {ProcessDeactivated: true}}
}

func second[T any](_ T, err error) error { return err }

func (r *trial) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *trial) create(name string, a kms.Algorithm, in engine.CreateKeyInput) Case {
	r.Helper()
	if r.n++; name == "" {
		name = fmt.Sprintf("k%d", r.n)
	}
	in.Name, in.Algorithm = name, a
	out, err := r.s.Engine.CreateKey(r.Context(), r.s.Admin, in)
	r.must(err)
	return Case{Key: out.Key.ID, Version: 1, Other: "other"}
}

// state brings a version into a state and tries every position of the switch.
func (r *trial) state(a kms.Algorithm, st kms.State, terms lifecycle.Terms, ops []Operation) {
	r.Helper()
	in := engine.CreateKeyInput{Freeze: terms.Freeze, ProcessDeactivated: terms.ProcessDeactivated}
	model := r.create("", a, in)
	made := r.made(model, a)
	in.Dates.PreActive = st == kms.PreActive
	c := r.create("", a, in)
	if st == kms.PreActive { // what it made cannot be: what another made is as good, because it is refused before anybody looks
		c.Made = bytes.ReplaceAll(made, model.Key[:], c.Key[:])
	} else {
		c.Made = r.made(c, a)
	}
	r.lead(c, st)
	primary := st
	if st == kms.Compromised {
		primary = kms.Active // the new one
	}
	e, k := r.s.Engine, engine.KeyInput{Key: kms.RefTo(c.Key)}
	r.compare(c, kms.Enabled, st, terms, ops, primary)
	r.must(second(e.SuspendKey(r.Context(), r.s.Admin, k)))
	r.compare(c, kms.SuspendedKey, st, terms, ops, primary)
	r.must(second(e.DisableKey(r.Context(), r.s.Admin, k)))
	r.compare(c, kms.Disabled, st, terms, ops, primary)
	r.must(second(e.AssessKey(r.Context(), r.s.Admin, engine.AssessInput{Key: k.Key})))
	r.must(second(e.ScheduleKeyDestruction(r.Context(), r.s.Admin, engine.DestroyInput{Key: k.Key, Window: lifecycle.MinWindow})))
	r.compare(c, kms.PendingDestruction, st, terms, ops, primary)
	r.keys[a] = append(r.keys[a], c)
}

// lead takes version 1 to a state as the primary version, as far as it can be that.
func (r *trial) lead(c Case, st kms.State) {
	r.Helper()
	e, ctx, ref := r.s.Engine, r.Context(), kms.RefTo(c.Key)
	switch st {
	case kms.Suspended:
		r.must(second(e.SuspendVersion(ctx, r.s.Admin, engine.VersionInput{Key: ref, Version: 1})))
	case kms.Deactivated, kms.Archived:
		r.must(second(e.DeactivateVersion(ctx, r.s.Admin, engine.DeactivateInput{Key: ref, Version: 1, At: e.Now().Add(2 * time.Second)})))
		r.s.Pass(3 * time.Second)
		if st == kms.Archived {
			r.must(second(e.ArchiveVersion(ctx, r.s.Admin, engine.ArchiveInput{Key: ref, Version: 1})))
		}
	case kms.Compromised:
		r.must(second(e.CompromiseVersion(ctx, r.s.Admin, engine.CompromiseInput{Key: ref, Versions: []uint32{1}})))
	}
}

// made is what the key makes while it can.
func (r *trial) made(c Case, a kms.Algorithm) []byte {
	r.Helper()
	e, ctx, ref := r.s.Engine, r.Context(), kms.RefTo(c.Key)
	switch a {
	case kms.AES256GCM:
		out, err := e.Encrypt(ctx, r.s.User, engine.EncryptInput{Key: ref, Items: []engine.EncryptItem{{Plaintext: Message}}})
		r.must(err)
		return out.Items[0].Ciphertext
	case kms.Ed25519:
		out, err := e.Sign(ctx, r.s.User, engine.SignInput{Key: ref, Items: []engine.SignItem{{Message: Message}}})
		r.must(err)
		return out.Items[0].Signature
	case kms.HMACSHA256:
		out, err := e.GenerateMAC(ctx, r.s.User, engine.MACInput{Key: ref, Items: []engine.MACItem{{Message: Message}}})
		r.must(err)
		return out.Items[0].MAC
	case kms.ECDHP256:
		out, err := e.GetPublicKey(ctx, r.s.User, engine.PublicKeyInput{Key: ref})
		r.must(err)
		return out.DER
	case kms.MLKEM768:
		out, err := e.Encapsulate(ctx, r.s.User, engine.EncapsulateInput{Key: ref})
		r.must(err)
		return out.Ciphertext
	case kms.AES256Wrap:
		out, err := e.WrapKey(ctx, r.s.User, engine.WrapInput{Key: ref, Items: []engine.WrapItem{{Material: Message}}})
		r.must(err)
		return out.Items[0].Wrapped
	}
	return Message // of format-preserving encryption any text is one that it made
}

// compare tries the operations on one key.
func (r *trial) compare(c Case, sw kms.Switch, st kms.State, terms lifecycle.Terms, ops []Operation, primary kms.State) {
	r.Helper()
	for _, o := range ops {
		at := st
		if o.Primary {
			at = primary
		}
		err := lifecycle.KeyPermits(sw, o.Need, terms)
		if onVersion := o.Need != lifecycle.Read && o.Need != lifecycle.Manage; err == nil && onVersion {
			err = lifecycle.VersionPermits(at, o.Need, terms)
		}
		r.cells++
		if got, want := r.d[o.Action](r, c), kms.CodeOf(err); got != want {
			r.Errorf("%s with a key that is %s, a version that is %s, %+v: got %s want %s", o.Action, sw, at, terms, got, want)
		}
	}
}

// destroyed lets the windows of all keys end.
func (r *trial) destroyed(ops map[kms.Algorithm][]Operation) {
	r.Helper()
	r.s.Pass(lifecycle.MinWindow + time.Hour)
	for a, cases := range r.keys {
		for _, c := range cases {
			for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
				out, err := r.s.Engine.DescribeKey(r.Context(), r.s.Admin, engine.KeyInput{Key: kms.RefTo(c.Key)})
				r.must(err)
				if out.Key.Switch == kms.DestroyedKey {
					break
				}
				if time.Now().After(end) {
					r.Fatalf("key %s is %s long after its window", c.Key, out.Key.Switch)
				}
			}
			r.compare(c, kms.DestroyedKey, kms.Destroyed, lifecycle.Terms{}, ops[a], kms.Destroyed)
		}
	}
}
