package engine_test

import (
	"context"
	"encoding/pem"
	"errors"
	"net/http/httptest"
	"os"
	"slices"
	"testing"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/authn"
	"github.com/keyhold/keyhold/internal/dialect/native"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/release"
)

// wire is the surface as clients of the native API see it: TLS, tokens, JSON, and everything between.
type wire map[string]*client.Client // by principal

// identified gives authn what the engine knows of a credential.
type identified struct{ of engine.Identities }

func (i identified) Token(ctx context.Context, id kms.ID) (authn.Identity, error) {
	got, err := i.of.Token(ctx, id)
	return authn.Identity(got), err
}

func (i identified) UseToken(ctx context.Context, id kms.ID) error { return i.of.UseToken(ctx, id) }

func (i identified) Certificate(ctx context.Context, subject string) (authn.Identity, error) {
	got, err := i.of.Certificate(ctx, subject)
	return authn.Identity(got), err
}

func (i identified) AccessKey(ctx context.Context, id string) (authn.Identity, error) {
	got, err := i.of.AccessKey(ctx, id)
	return authn.Identity(got), err
}

func (i identified) Session(ctx context.Context, token string) (authn.Identity, error) {
	got, err := i.of.Session(ctx, token)
	return authn.Identity(got), err
}

// newWire serves a machine's engine, and has a client with a token for each of the people.
func newWire(t *testing.T, p *player) wire {
	t.Helper()
	auth := authn.New(authn.Config{Identities: identified{p.m.e.Identities()}, Dates: p.m.e.Now})
	srv := httptest.NewUnstartedServer(native.Handler(native.Config{Engine: p.m.e, Authn: auth}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	all := wire{}
	for _, c := range p.who {
		in := engine.CreateTokenInput{Principal: c.name, Scope: c.scope, TTL: 360 * day}
		if c.role != "" {
			in.Roles = []kms.Role{c.role}
		}
		out, err := p.m.e.CreateToken(t.Context(), p.call(p.who["op"], c.home), in)
		if err != nil {
			t.Fatal(err)
		}
		if all[c.name], err = client.New(client.Config{Address: srv.URL, CACert: ca, Token: string(out.Token.Wire(release.Wire{})), Retry: client.Retry{Attempts: 1}}); err != nil {
			t.Fatal(err)
		}
		p.trail = append(p.trail, "CreateToken ok change by op")
	}
	p.m.tape.take(p.request)
	return all
}

// of is the caller's client, and the options that stand for the rest of the call.
func (w wire) of(c kms.Call) (*client.Client, []client.Option) {
	o := []client.Option{client.Namespace(string(c.Namespace)), client.RequestID(c.RequestID)}
	if c.DryRun {
		o = append(o, client.DryRun())
	}
	if c.Token != "" {
		o = append(o, client.IdempotencyToken(c.Token))
	}
	return w[c.Principal.Name], o
}

// code is the error that a client was told.
func code(err error) error {
	var e *client.Error
	if !errors.As(err, &e) {
		return err
	}
	c, bad := kms.ParseCode(e.Code)
	if bad != nil {
		return err
	}
	return kms.Errorf(c, "%s", e.What)
}

func idOf(s string) kms.ID {
	id, _ := kms.ParseID(s)
	return id
}

func keyOut(k client.Key, err error) (engine.KeyOutput, error) {
	if err != nil {
		return engine.KeyOutput{}, code(err)
	}
	var bad []error
	note := func(err error) { bad = append(bad, err) }
	out := engine.KeyOutput{Key: kms.Key{ID: idOf(k.ID), Namespace: kms.Namespace(k.Namespace), Name: k.Name, Aliases: k.Aliases, Primary: k.PrimaryVersion,
		Latest: k.LatestVersion, Description: k.Description, Labels: k.Labels, DestroyAt: k.DestroyAt}}
	out.Key.Algorithm, err = kms.ParseAlgorithm(k.Algorithm)
	note(err)
	out.Key.Usage, err = kms.ParseUsage(k.Usage)
	note(err)
	var known bool
	if out.Key.Switch, known = kms.ParseSwitch(k.State); !known {
		note(errors.New("unknown state " + k.State))
	}
	states := kms.AllStates()
	at := func(s string) kms.State {
		i := slices.IndexFunc(states, func(st kms.State) bool { return st.String() == s })
		if i < 0 {
			note(errors.New("unknown state of a version " + s))
			return 0
		}
		return states[i]
	}
	for _, v := range k.Versions {
		one := kms.Version{Key: out.Key.ID, Number: v.Version, State: at(v.State)}
		one.Algorithm, err = kms.ParseAlgorithm(v.Algorithm)
		note(err)
		for _, s := range v.History {
			one.History = append(one.History, kms.Transition{To: at(s.State), At: s.At, By: s.By})
		}
		out.Versions = append(out.Versions, one)
	}
	return out, errors.Join(bad...)
}

func (w wire) CreateKey(ctx context.Context, call kms.Call, in engine.CreateKeyInput) (engine.KeyOutput, error) {
	c, o := w.of(call)
	return keyOut(c.CreateKey(ctx, client.CreateKeyInput{Name: in.Name, Algorithm: in.Algorithm.String(), Usage: in.Usage.String(), Description: in.Description,
		Labels: in.Labels, Aliases: in.Aliases}, o...))
}

func (w wire) UpdateKey(ctx context.Context, call kms.Call, in engine.UpdateKeyInput) (engine.KeyOutput, error) {
	c, o := w.of(call)
	return keyOut(c.UpdateKey(ctx, client.UpdateKeyInput{Key: string(in.Key), Name: in.Name, Description: in.Description, SetLabels: in.SetLabels,
		AddAliases: in.AddAliases, RemoveAliases: in.RemoveAliases}, o...))
}

func (w wire) RotateKey(ctx context.Context, call kms.Call, in engine.RotateKeyInput) (engine.KeyOutput, error) {
	c, o := w.of(call)
	return keyOut(c.RotateKey(ctx, string(in.Key), o...))
}

func (w wire) DescribeKey(ctx context.Context, call kms.Call, in engine.KeyInput) (engine.KeyOutput, error) {
	c, o := w.of(call)
	return keyOut(c.DescribeKey(ctx, string(in.Key), o...))
}

func (w wire) EnableKey(ctx context.Context, call kms.Call, in engine.KeyInput) (engine.KeyOutput, error) {
	c, o := w.of(call)
	return keyOut(c.EnableKey(ctx, string(in.Key), o...))
}

func (w wire) DisableKey(ctx context.Context, call kms.Call, in engine.KeyInput) (engine.KeyOutput, error) {
	c, o := w.of(call)
	return keyOut(c.DisableKey(ctx, string(in.Key), o...))
}

func (w wire) SuspendKey(ctx context.Context, call kms.Call, in engine.KeyInput) (engine.KeyOutput, error) {
	c, o := w.of(call)
	return keyOut(c.SuspendKey(ctx, string(in.Key), o...))
}

func (w wire) ResumeKey(ctx context.Context, call kms.Call, in engine.KeyInput) (engine.KeyOutput, error) {
	c, o := w.of(call)
	return keyOut(c.ResumeKey(ctx, string(in.Key), o...))
}

func (w wire) DeactivateVersion(ctx context.Context, call kms.Call, in engine.DeactivateInput) (engine.KeyOutput, error) {
	c, o := w.of(call)
	return keyOut(c.DeactivateVersion(ctx, string(in.Key), in.Version, o...))
}

func (w wire) SuspendVersion(ctx context.Context, call kms.Call, in engine.VersionInput) (engine.KeyOutput, error) {
	c, o := w.of(call)
	return keyOut(c.SuspendVersion(ctx, string(in.Key), in.Version, o...))
}

func (w wire) ResumeVersion(ctx context.Context, call kms.Call, in engine.VersionInput) (engine.KeyOutput, error) {
	c, o := w.of(call)
	return keyOut(c.ResumeVersion(ctx, string(in.Key), in.Version, o...))
}

func (w wire) ArchiveVersion(ctx context.Context, call kms.Call, in engine.ArchiveInput) (engine.KeyOutput, error) {
	c, o := w.of(call)
	return keyOut(c.ArchiveVersion(ctx, string(in.Key), in.Version, o...))
}

func (w wire) CompromiseVersion(ctx context.Context, call kms.Call, in engine.CompromiseInput) (engine.CompromiseOutput, error) {
	c, o := w.of(call)
	out, err := c.CompromiseVersions(ctx, string(in.Key), in.Versions, o...)
	k, err := keyOut(out.Key, err)
	return engine.CompromiseOutput{Key: k.Key, Versions: k.Versions}, err
}

func (w wire) ScheduleKeyDestruction(ctx context.Context, call kms.Call, in engine.DestroyInput) (engine.KeyOutput, error) {
	c, o := w.of(call)
	return keyOut(c.ScheduleKeyDestruction(ctx, string(in.Key), in.Window, o...))
}

func (w wire) CancelKeyDestruction(ctx context.Context, call kms.Call, in engine.CancelInput) (engine.KeyOutput, error) {
	c, o := w.of(call)
	return keyOut(c.CancelKeyDestruction(ctx, string(in.Key), o...))
}

func (w wire) Encrypt(ctx context.Context, call kms.Call, in engine.EncryptInput) (engine.EncryptOutput, error) {
	c, o := w.of(call)
	it := in.Items[0]
	out, err := c.Encrypt(ctx, client.EncryptInput{Key: string(in.Key), Plaintext: it.Plaintext, Context: client.Context(it.Context), Version: in.Version}, o...)
	return engine.EncryptOutput{Key: idOf(out.KeyID), Version: out.Version, Items: []engine.EncryptedItem{{Ciphertext: out.Ciphertext}}}, code(err)
}

func (w wire) Decrypt(ctx context.Context, call kms.Call, in engine.DecryptInput) (engine.DecryptOutput, error) {
	c, o := w.of(call)
	it := in.Items[0]
	out, err := c.Decrypt(ctx, client.DecryptInput{Key: string(in.Key), Ciphertext: it.Ciphertext, Context: client.Context(it.Context)}, o...)
	return engine.DecryptOutput{Key: idOf(out.KeyID), Items: []engine.DecryptedItem{{Plaintext: secret.Release(out.Plaintext), Version: out.Version}}}, code(err)
}

func (w wire) ReEncrypt(ctx context.Context, call kms.Call, in engine.ReEncryptInput) (engine.ReEncryptOutput, error) {
	c, o := w.of(call)
	it := in.Items[0]
	out, err := c.ReEncrypt(ctx, client.ReEncryptInput{ToKey: string(in.To), Ciphertext: it.Ciphertext, FromContext: client.Context(it.FromContext),
		ToContext: client.Context(it.ToContext)}, o...)
	return engine.ReEncryptOutput{To: idOf(out.ToKeyID), Version: out.Version, Items: []engine.EncryptedItem{{Ciphertext: out.Ciphertext}}}, code(err)
}

func (w wire) GenerateDataKey(ctx context.Context, call kms.Call, in engine.DataKeyInput) (engine.DataKeyOutput, error) {
	c, o := w.of(call)
	out, err := c.GenerateDataKey(ctx, client.GenerateDataKeyInput{Key: string(in.Key), Length: uint32(in.Bytes), Context: client.Context(in.Context), //nolint:gosec // G115: 32
		WithoutPlaintext: in.WithoutPlaintext}, o...)
	return engine.DataKeyOutput{Key: idOf(out.KeyID), Version: out.Version, Items: []engine.DataKeyItem{{Plaintext: secret.Release(out.Plaintext), Ciphertext: out.Ciphertext}}}, code(err)
}

func (w wire) Sign(ctx context.Context, call kms.Call, in engine.SignInput) (engine.SignOutput, error) {
	c, o := w.of(call)
	out, err := c.Sign(ctx, client.SignInput{Key: string(in.Key), Message: in.Items[0].Message}, o...)
	return engine.SignOutput{Version: out.Version, Items: []engine.SignedItem{{Signature: out.Signature}}}, code(err)
}

func (w wire) Verify(ctx context.Context, call kms.Call, in engine.VerifyInput) (engine.VerifyOutput, error) {
	c, o := w.of(call)
	out, err := c.Verify(ctx, client.VerifyInput{Key: string(in.Key), Message: in.Items[0].Message, Signature: in.Items[0].Signature, Version: in.Version}, o...)
	return engine.VerifyOutput{Version: out.Version}, code(err)
}

func (w wire) GenerateMAC(ctx context.Context, call kms.Call, in engine.MACInput) (engine.MACOutput, error) {
	c, o := w.of(call)
	out, err := c.GenerateMAC(ctx, client.GenerateMACInput{Key: string(in.Key), Message: in.Items[0].Message}, o...)
	return engine.MACOutput{Version: out.Version, Items: []engine.MadeMAC{{MAC: out.MAC}}}, code(err)
}

func (w wire) VerifyMAC(ctx context.Context, call kms.Call, in engine.VerifyMACInput) (engine.VerifyOutput, error) {
	c, o := w.of(call)
	out, err := c.VerifyMAC(ctx, client.VerifyMACInput{Key: string(in.Key), Message: in.Items[0].Message, MAC: in.Items[0].MAC, Version: in.Version}, o...)
	return engine.VerifyOutput{Version: out.Version}, code(err)
}

func (w wire) GetPublicKey(ctx context.Context, call kms.Call, in engine.PublicKeyInput) (engine.PublicKeyOutput, error) {
	c, o := w.of(call)
	out, err := c.GetPublicKey(ctx, string(in.Key), in.Version, o...)
	return engine.PublicKeyOutput{Version: out.Version, DER: out.DER}, code(err)
}

// TestClientsSeeWhatTheModelSays plays operations on keys through the native API, over TLS and with tokens.
func TestClientsSeeWhatTheModelSays(t *testing.T) {
	seeds, n := 2, 150
	if os.Getenv("KEYHOLD_LONG") == "1" {
		seeds, n = 20, 2000
	}
	// A batch of the wire may be of several keys: it is as many operations.
	ops := slices.DeleteFunc(slices.Clone(onKeys), func(o operation) bool { return o.name == "decrypt batch" })
	for seed := range uint64(seeds) {
		p := newPlayer(newMachine(t), "r0")
		if err := p.begin(); err != nil {
			t.Fatal(err)
		}
		p.wire = newWire(t, p)
		for i, s := range stream(seed+1000, n, ops) {
			if err := p.step(ops, s); err != nil {
				t.Fatalf("seed %d, operation %d: %v", seed, i, err)
			}
			if i%50 == 49 { // windows end, idempotency tokens are forgotten
				p.lapse(5 * day)
				if err := errors.Join(p.upkeep(), p.records()); err != nil {
					t.Fatalf("seed %d, operation %d: %v", seed, i, err)
				}
			}
		}
		if err := errors.Join(p.end(), p.m.close()); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}
