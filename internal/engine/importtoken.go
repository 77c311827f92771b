package engine

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/records"
)

// Limits of import tokens.
const (
	importLifetime    = 24 * time.Hour
	minImportLifetime = time.Minute
	maxImportLifetime = 7 * 24 * time.Hour
	maxImportsOfKey   = 8    // open at a time
	maxImports        = 1000 // of all namespaces
)

// The descriptors of import tokens.
var (
	createImportToken = change[ImportTokenInput, ImportTokenOutput]{
		name: kms.CreateImportToken,
		roles: []role[ImportTokenInput]{{action: kms.CreateImportToken, need: lifecycle.Manage,
			key: func(in *ImportTokenInput) (kms.Ref, error) { return in.Key, nil }}},
		check:   checkImportToken,
		prepare: prepareImportToken,
		do:      doImportToken,
	}
	// Material that comes under a wrapping key of this server takes the right to unwrap with that: it will be as if it had been.
	createImportTokenUnder = change[ImportTokenInput, ImportTokenOutput]{
		name: kms.CreateImportToken,
		roles: append(createImportToken.roles, role[ImportTokenInput]{action: kms.UnwrapKey, need: lifecycle.Process,
			key: func(in *ImportTokenInput) (kms.Ref, error) { return in.WrappingKey, nil }}),
		check:   checkImportToken,
		prepare: prepareImportToken,
		do:      doImportToken,
	}
)

// CreateImportToken makes the key pair that the material of one import is wrapped for.
func (e *Engine) CreateImportToken(ctx context.Context, c kms.Call, in ImportTokenInput) (ImportTokenOutput, error) {
	if in.WrappingKey != "" {
		return alter(ctx, e, c, &createImportTokenUnder, &in)
	}
	return alter(ctx, e, c, &createImportToken, &in)
}

func checkImportToken(in *ImportTokenInput) error {
	if in.Lifetime == 0 {
		in.Lifetime = importLifetime
	}
	if in.Lifetime < minImportLifetime || in.Lifetime > maxImportLifetime {
		return kms.Errorf(kms.CodeBadRequest, "an import token for %s was asked for: want %s to %s", in.Lifetime, minImportLifetime, maxImportLifetime)
	}
	if in.Open && (in.Version != 0 || in.WrappingKey != "" || in.Transport == 0 || in.Transport.Facts().Info) {
		return kms.Errorf(kms.CodeBadRequest, "an open import token names its transport, which is not HPKE, and neither a version nor a wrapping key")
	}
	return checkUnder(in.Transport, in.WrappingKey)
}

// checkUnder: some transports need a wrapping key that both sides have, all others must not have one.
func checkUnder(t kms.Transport, wrapping kms.Ref) error {
	if wrapping != "" && !t.Symmetric() {
		return kms.Errorf(kms.CodeBadRequest, "a wrapping key was named: want the transport %s or %s", kms.TransportKWP, kms.TransportKW)
	}
	if wrapping == "" && t.Symmetric() {
		return kms.Errorf(kms.CodeBadRequest, "%s needs the name of a wrapping key that both sides have", t)
	}
	return nil
}

// mustBeImported refuses material from elsewhere for a key that the server generates: which of the two a version has is said when its key is made.
func mustBeImported(k *kms.Key) error {
	if k.Origin == kms.Imported {
		return nil
	}
	e := kms.Errorf(kms.CodeImportToken, "the material of key %q is %s: only a key that was created for import takes material", k.Name, k.Origin)
	e.Next = "import it as a key of its own: keyhold key import NAME FILE"
	return e
}

// mayGenerate refuses to replace imported material by generated material unless that was asked for: whoever holds the other copy
// would not have the new version.
func mayGenerate(k *kms.Key, generate bool) error {
	if k.Origin != kms.Imported || k.Transit.Rotates || generate {
		return nil
	}
	e := kms.Errorf(kms.CodeImported, "the material of key %q is imported: a rotation would make a version that only this server has", k.Name)
	e.Next = "bring in a new version: keyhold key import " + k.Name + " FILE; or let the server make one: keyhold key rotate " + k.Name + " --generate"
	return e
}

func prepareImportToken(ctx context.Context, w *work, in *ImportTokenInput) error {
	k := w.keys[0]
	if err := mustBeImported(&k.Key.Key); err != nil {
		return err
	}
	row := records.Import{
		ID: w.e.newID(w.now), Namespace: w.call.Namespace, Key: k.ID, Version: in.Version, Again: in.Version != 0, Algorithm: k.Algorithm,
		Transport: in.Transport, Created: w.now.UTC(), Expires: w.now.Add(in.Lifetime).UTC().Truncate(time.Second), By: w.call.Principal.Name,
	}
	switch {
	case in.Open:
		row.Open = true
	case row.Again:
		v, err := w.o.records.Version(ctx, k.ID, in.Version)
		if err != nil {
			return err
		}
		if err := mayComeBack(&k.Key.Key, &v, in.Version); err != nil {
			return err
		}
		row.Algorithm = v.Algorithm
	default:
		row.Version = k.Latest + 1
		if err := newVersionMayCome(&k.Key.Key); err != nil {
			return err
		}
	}
	by, err := in.settle(w, &row)
	if err != nil {
		return err
	}
	if err := w.fewImports(ctx, k.ID); err != nil {
		return err
	}
	in.made = &importToken{row: row}
	if w.call.DryRun || !row.Under.IsZero() {
		return nil
	}
	in.made.row.ID = w.e.orderedID(w.now)
	gen, shred, err := w.o.ring.NewImportKey(ctx, row.Namespace, in.made.row.ID, by)
	if err != nil {
		return err
	}
	in.made.shred = shred
	in.made.pair = &records.Version{Wrapped: gen.Wrapped, Version: kms.Version{
		Key: in.made.row.ID, Algorithm: by, State: kms.Active, Origin: kms.Generated, Source: gen.Source, Created: w.now.UTC(), Public: gen.Public, Check: gen.Check,
	}}
	return nil
}

// settle fills in the transport and the kind of key that wraps.
func (in *ImportTokenInput) settle(w *work, row *records.Import) (by kms.Algorithm, err error) {
	if row.Transport == 0 {
		row.Transport = kms.DefaultTransport(w.e.cfg.Profile)
	}
	switch f := row.Transport.Facts(); {
	case in.WrappingKey != "":
		row.Under, by = w.keys[1].ID, w.keys[1].Algorithm
	case in.By != 0:
		by = in.By
	case len(f.Keys) > 0:
		by = f.Keys[0]
	}
	return by, kms.CheckTransport(row.Transport, by, row.Algorithm, w.e.cfg.Profile)
}

// fewImports bounds how many tokens are open. Two that are asked for at the same moment may both pass: the bound is against piling up.
func (w *work) fewImports(ctx context.Context, key kms.ID) error {
	open, err := w.o.records.Imports(ctx, maxImports)
	if err != nil {
		return err
	}
	n := 0
	for i := range open {
		if open[i].Key == key && open[i].Expires.After(w.now) {
			n++
		}
	}
	if n < maxImportsOfKey && len(open) < maxImports {
		return nil
	}
	e := kms.Errorf(kms.CodeTooLarge, "%d import tokens of this key, and %d in all, are open: the limits are %d and %d", n, len(open), maxImportsOfKey, maxImports)
	e.Next = "use one of them, or wait until they are over"
	return e
}

// newVersionMayCome: the first one into a key that waits for it, another one wherever a key may be rotated.
func newVersionMayCome(k *kms.Key) error {
	if k.Switch == kms.PendingImport {
		return nil
	}
	return lifecycle.KeyPermits(k.Switch, lifecycle.Rotate, lifecycle.Terms{Freeze: k.Freeze})
}

// mayComeBack: material comes back into a version that was imported and is not destroyed.
func mayComeBack(k *kms.Key, v *records.Version, n uint32) error {
	switch {
	case v.Number == 0:
		return kms.Errorf(kms.CodeVersionNotFound, "key %q has no version %d", k.Name, n)
	case v.Origin != kms.Imported:
		return kms.Errorf(kms.CodeImportToken, "version %d was not imported: its material is here", n)
	case v.State == kms.Destroyed || v.State == kms.DestroyedCompromised:
		return kms.Errorf(kms.CodeKeyDestroyed, "version %d is %s", n, v.State)
	case v.Archived:
		return kms.Errorf(kms.CodeVersionState, "the material of version %d is in the archive", n)
	}
	return nil
}

func doImportToken(_ context.Context, w *work, tx *records.Tx, in *ImportTokenInput) (ImportTokenOutput, error) {
	if _, err := w.key(tx); err != nil {
		return ImportTokenOutput{}, err
	}
	m := in.made
	out := ImportTokenOutput{
		ID: m.row.ID, Key: m.row.Key, Version: m.row.Version, Again: m.row.Again, Algorithm: m.row.Algorithm, Transport: m.row.Transport,
		WrappingKey: m.row.Under, Expires: m.row.Expires,
	}
	if m.pair != nil {
		out.Public = m.pair.Public
	}
	if m.row.Transport.Facts().Info {
		out.Info = importInfo(w.e.cfg.Cluster, &m.row)
	}
	w.rec.Keys[0].Version = m.row.Version
	w.rec.Detail = fmt.Sprintf("token %s for version %d, %s, until %s", m.row.ID, m.row.Version, m.row.Transport, spelt(m.row.Expires))
	w.onCommit([32]byte{}, func(leaf [32]byte) error {
		m.row.Change = leaf
		return tx.InsertImport(m.row, m.pair, m.shred)
	})
	return out, nil
}

// importInfo is what HPKE binds the material to, so that it opens for this import and for nothing else:
// "keyhold/import/v1" ‖ 00 ‖ cluster 16 ‖ token 16 ‖ key 16 ‖ version u32 ‖ name of the algorithm.
func importInfo(cluster kms.ID, i *records.Import) []byte {
	b := append([]byte(nil), "keyhold/import/v1\x00"...)
	b = append(b, cluster[:]...)
	b = append(b, i.ID[:]...)
	b = append(b, i.Key[:]...)
	b = binary.BigEndian.AppendUint32(b, i.Version)
	return append(b, i.Algorithm.String()...)
}
