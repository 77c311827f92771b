package engine_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/x509"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret/release"
	"github.com/keyhold/keyhold/internal/wire/transit"
)

// exportReceiver is the public key of P-256 whose private key is 1.
var exportReceiver = func() []byte {
	one, err := ecdh.P256().NewPrivateKey(append(make([]byte, 31), 1))
	if err != nil {
		panic(err)
	}
	public, err := x509.MarshalPKIXPublicKey(one.PublicKey())
	if err != nil {
		panic(err)
	}
	return public
}()

// opened is an import token with material that was wrapped for it.
type opened struct {
	engine.ImportTokenOutput
	parcel []byte
}

func newImport(w *world, n string) (opened, error) {
	w.importable(n, kms.AES256GCM, 0)
	tok := w.importToken(engine.ImportTokenInput{Key: kms.Ref(n), Transport: kms.HPKEP256})
	return opened{tok, wrapFor(w.t, tok, aesKey)}, nil
}

func arrived(w *world, n string) (engine.ImportMaterialOutput, error) {
	in, err := newImport(w, n)
	if err != nil {
		return engine.ImportMaterialOutput{}, err
	}
	return w.e.ImportKeyMaterial(w.t.Context(), admin, engine.ImportMaterialInput{Key: kms.RefTo(in.Key), Token: in.ID, Material: in.parcel})
}

var transferTrials = map[kms.Action]trial{
	kms.CreateImportToken: after(func(w *world, n string) (kms.Key, error) {
		return w.importable(n, kms.AES256GCM, 0), nil
	}, func(w *world, k kms.Key) (engine.ImportTokenOutput, error) {
		return w.e.CreateImportToken(w.t.Context(), admin, engine.ImportTokenInput{Key: kms.RefTo(k.ID), Transport: kms.HPKEP256})
	}),
	kms.ImportKeyMaterial: after(newImport, func(w *world, in opened) (engine.ImportMaterialOutput, error) {
		return w.e.ImportKeyMaterial(w.t.Context(), admin, engine.ImportMaterialInput{Key: kms.RefTo(in.Key), Token: in.ID, Material: bytes.Clone(in.parcel)})
	}),
	kms.ExpireKeyMaterial: after(arrived, func(w *world, in engine.ImportMaterialOutput) (engine.KeyOutput, error) {
		return w.e.ExpireKeyMaterial(w.t.Context(), admin, engine.ExpireInput{Key: kms.RefTo(in.Key.ID), Version: 1})
	}),
	kms.AllowExport: after(func(w *world, n string) (engine.KeyOutput, error) {
		return w.e.CreateKey(w.t.Context(), admin, engine.CreateKeyInput{Name: n, Algorithm: kms.AES256GCM, Transit: kms.Transit{Mac: true}})
	}, func(w *world, in engine.KeyOutput) (engine.KeyOutput, error) {
		return w.e.AllowExport(w.t.Context(), admin, engine.AllowExportInput{Key: kms.RefTo(in.Key.ID), Exportable: true, Backup: true})
	}),
	kms.RestoreKey: after(backup, func(w *world, in engine.RestoreInput) (engine.KeyOutput, error) {
		return w.e.RestoreKey(w.t.Context(), admin, in)
	}),
	kms.ReleaseKey: after(newBackedUp, func(w *world, in engine.KeyOutput) (engine.ReleaseOutput, error) {
		return w.e.ReleaseKey(w.t.Context(), admin, engine.ReleaseInput{Key: kms.RefTo(in.Key.ID), As: engine.AsBackup})
	}),
	kms.TrimKey: after(oldOnes, func(w *world, in engine.KeyOutput) (engine.KeyOutput, error) {
		return w.e.TrimKey(w.t.Context(), admin, engine.TrimInput{Key: kms.RefTo(in.Key.ID), Kept: 2})
	}),
	// Making it takes seconds under the race detector: one that is there. bringkey_test.go has the making.
	kms.ReadWrappingKey: after(func(w *world, _ string) (engine.WrappingKeyOutput, error) {
		return w.e.ReadWrappingKey(w.t.Context(), admin, engine.WrappingKeyInput{})
	}, func(w *world, _ engine.WrappingKeyOutput) (engine.WrappingKeyOutput, error) {
		return w.e.ReadWrappingKey(w.t.Context(), admin, engine.WrappingKeyInput{})
	}),
	kms.ExportKey: after(arrived, func(w *world, in engine.ImportMaterialOutput) (engine.ExportOutput, error) {
		return w.e.ExportKey(w.t.Context(), admin, engine.ExportInput{Key: kms.RefTo(in.Key.ID), Public: exportReceiver})
	}),
}

var backedUp = engine.CreateKeyInput{Algorithm: kms.AES256GCM, Exportable: true, Transit: kms.Transit{Mac: true, Backup: true}}

func newBackedUp(w *world, n string) (engine.KeyOutput, error) {
	in := backedUp
	in.Name = n
	return w.e.CreateKey(w.t.Context(), admin, in)
}

func backup(w *world, n string) (engine.RestoreInput, error) {
	out, err := newBackedUp(w, n+"-origin")
	if err != nil {
		return engine.RestoreInput{}, err
	}
	given, err := w.e.ReleaseKey(w.t.Context(), admin, engine.ReleaseInput{Key: kms.RefTo(out.Key.ID), As: engine.AsBackup})
	if err != nil {
		return engine.RestoreInput{}, err
	}
	b, err := transit.Parse(given.Backup.Wire(release.Wire{}))
	return engine.RestoreInput{Backup: b, CreateKeyInput: engine.CreateKeyInput{Name: n}}, err
}

func oldOnes(w *world, n string) (engine.KeyOutput, error) {
	out, err := newBackedUp(w, n)
	if err != nil {
		return out, err
	}
	ref, two := kms.RefTo(out.Key.ID), uint32(2)
	if _, err := w.e.RotateKey(w.t.Context(), admin, engine.RotateKeyInput{Key: ref}); err != nil {
		return out, err
	}
	return w.e.UpdateKey(w.t.Context(), admin, engine.UpdateKeyInput{Key: ref, MinProcess: &two, MinProtect: &two})
}

var transferElsewhere = map[kms.Action]string{}
