package engine

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/policy"
	"github.com/keyhold/keyhold/internal/provider"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/rotation"
)

// The descriptor of creating a key.
var (
	createKey = change[CreateKeyInput, KeyOutput]{
		// Decided on the key that would be, not on the namespace: a policy may let someone create keys in one folder or
		// with one label only.
		name:      kms.CreateKey,
		check:     checkCreate,
		authorize: authorizeCreate,
		prepare:   prepareCreate,
		do:        doCreate,
	}
)

// newVersion is material made outside the transaction that stores it.
type newVersion struct {
	key       kms.ID
	number    uint32
	algorithm kms.Algorithm
	bytes     int
	gen       provider.Generated
	canary    []byte
	shred     records.Shred

	imported bool      // the material came from elsewhere
	created  time.Time // when, elsewhere; zero: now
	expires  time.Time // when it is forgotten; zero: never
	note     string    // what was said of it
	chain    [][]byte  // certificates of its public key
}

// arrival is material that came from elsewhere, of which a key is made.
type arrival interface {
	// take opens and proves it, outside the transaction that stores it, and fills in what was made.
	take(context.Context, *work, *CreateKeyInput) error
	// settle makes the key what the material, and what came with it, says of it.
	settle(*kms.Key)
	// put writes the versions, and says in the record what came.
	put(*work, *records.Tx, *kms.Key) ([]kms.Version, error)
}

// newVersion makes material for a version: generated, wrapped under the namespace's KEK and a shred secret of its own. It has proved itself: it was opened again,
// and opens the canary that it made.
func (w *work) newVersion(ctx context.Context, id kms.ID, n uint32, s provider.Spec, u kms.Usage) (*newVersion, error) {
	place, err := w.o.ring.NewPlace(ctx, w.call.Namespace, id, n)
	if err != nil {
		return nil, err
	}
	defer place.Wrap.Zero()
	gen, err := w.e.cfg.Provider.Generate(s, place.Wrap, place.Name)
	if err != nil {
		return nil, err
	}
	defer gen.Handle.Close()
	b := bird{id, n, s.Algorithm, u}
	canary, err := w.e.hatch(gen.Handle, b)
	if err != nil {
		return nil, err
	}
	if err := sings(gen.Handle, b, canary); err != nil {
		return nil, err
	}
	return &newVersion{key: id, number: n, algorithm: s.Algorithm, bytes: s.Bytes, gen: gen, canary: canary, shred: place.Shred}, nil
}

// putVersion writes a version, active or pre-active, with its shred row and its dates.
func (w *work) putVersion(tx *records.Tx, k *kms.Key, m *newVersion, d Dates) (kms.Version, error) {
	v := kms.Version{
		Key: m.key, Number: m.number, Algorithm: m.algorithm, Origin: kms.Generated, Source: m.gen.Source, Created: w.now.UTC(),
		Public: m.gen.Public, Check: m.gen.Check, ExpiresAt: m.expires, ActivateAt: d.ActivateAt, DeactivateAt: d.DeactivateAt, Note: m.note, Chain: m.chain,
	}
	w.move(&v, d.state())
	for _, at := range []time.Time{v.ActivateAt, v.DeactivateAt} {
		if err := remind(tx, k, v.Number, at); err != nil {
			return v, err
		}
	}
	if m.imported {
		v.Origin = kms.Imported
	}
	if !m.created.IsZero() {
		v.Created = m.created
	}
	return v, tx.InsertVersion(records.Version{Version: v, Wrapped: m.gen.Wrapped, Canary: m.canary}, m.shred)
}

func checkCreate(in *CreateKeyInput) error {
	for _, name := range append([]string{completed(in.Name, kms.ID{})}, in.Aliases...) {
		if err := kms.CheckName(name); err != nil {
			return err
		}
	}
	if len(in.Aliases) > maxAliases {
		return kms.Errorf(kms.CodeTooLarge, "%d aliases are more than the %d a key can have", len(in.Aliases), maxAliases)
	}
	if len(in.Description) > kms.MaxKeyDescription {
		return kms.Errorf(kms.CodeTooLarge, "the description has %d bytes, the limit is %d", len(in.Description), kms.MaxKeyDescription)
	}
	for _, name := range []string{in.Class, in.Template} {
		if name == "" {
			continue
		}
		if err := kms.CheckClass(name); err != nil {
			return err
		}
	}
	if in.Period != nil {
		if err := checkPeriod(*in.Period); err != nil {
			return err
		}
	}
	return kms.CheckLabels(in.Labels)
}

// completed is the name that a key gets: one that ends in '/' is a folder, in which the key is called by its id.
func completed(name string, id kms.ID) string {
	if strings.HasSuffix(name, "/") {
		return name + id.String()
	}
	return name
}

const maxAliases = 50 // as many as the AWS dialect promises

// authorizeCreate decides first and says what is wrong with the plan afterwards: who may not make keys learns nothing of templates.
func authorizeCreate(w *work, in *CreateKeyInput) error { return authorizeNew(w, in, kms.CreateKey) }

func authorizeNew(w *work, in *CreateKeyInput, a kms.Action) error {
	var unfit error
	in.plan, unfit = w.planKey(in)
	w.rec.Resource = in.Name
	in.made = &newVersion{key: in.id(w.e.newID(w.now))}
	k := in.key(w)
	in.made = nil
	if err := w.verdict(w.decide(policy.PrepareKey(&k), a, nil), a); err != nil {
		return err
	}
	if unfit != nil {
		return unfit
	}
	return w.wantMetadata(&k, in.plan.template)
}

// prepareFirstPolicy reads the policy that the key is made with, and makes sure that the caller could change it.
func prepareFirstPolicy(ctx context.Context, w *work, in *CreateKeyInput) (err error) {
	if in.Policy == "" {
		return nil
	}
	if in.policy, err = w.o.rules.keyPolicy(ctx, w.e.Account(w.call.Namespace), in.Policy); err != nil || in.Bypass {
		return err
	}
	made := in.made
	in.made = &newVersion{key: w.e.newID(w.now)}
	k := in.key(w)
	in.made = made
	return w.locksOut(policy.PrepareKey(&k).With(in.policy, nil))
}

func prepareCreate(ctx context.Context, w *work, in *CreateKeyInput) (err error) {
	if w.call.Region != "" {
		if err = kms.CheckRegion(w.call.Region); err != nil {
			return err
		}
	} else if in.MultiRegion {
		return kms.Errorf(kms.CodeBadRequest, "a multi-Region key has a home: it is made by a dialect that has regions")
	}
	if in.Upsert && w.rules.ns.NoUpsert {
		return kms.Errorf(kms.CodeKeyNotFound, "there is no key %q, and encryptions make none in namespace %q", in.Name, w.call.Namespace)
	}
	if err = prepareFirstPolicy(ctx, w, in); err != nil {
		return err
	}
	if err = in.Dates.settle(w.now); err != nil {
		return err
	}
	p := in.plan
	if p.usage, err = kms.CheckCreate(p.algorithm, p.usage, w.e.cfg.Profile); err != nil {
		return err
	}
	if err = kms.CheckSize(p.algorithm, p.bytes); err != nil {
		return err
	}
	if err = kms.CheckTransit(p.algorithm, in.Transit); err != nil {
		return err
	}
	if err = kms.CheckAlso(p.algorithm, p.usage, in.Also, in.Transit, w.e.cfg.Profile); err != nil {
		return err
	}
	if in.Import && in.Bytes != 0 {
		return kms.Errorf(kms.CodeBadRequest, "the length of a key that is imported is that of its material: ask for none instead of %d bytes", in.Bytes)
	}
	if in.Import && in.Dates != (Dates{}) {
		return kms.Errorf(kms.CodeBadRequest, "a key without material has no version yet, and so no dates")
	}
	if w.call.DryRun {
		in.made = &newVersion{key: in.id(w.e.newID(w.now)), number: 1}
		return nil
	}
	if in.Import {
		in.made = &newVersion{key: in.id(w.e.orderedID(w.now))}
		return nil
	}
	if in.came != nil {
		return in.came.take(ctx, w, in)
	}
	if in.made == nil {
		in.made, err = w.newVersion(ctx, in.id(w.e.orderedID(w.now)), 1, provider.Spec{Algorithm: p.algorithm, Bytes: p.bytes, MAC: in.Transit.Mac}, p.usage)
	}
	return err
}

// id makes an id one of the kind that the key has.
func (in *CreateKeyInput) id(id kms.ID) kms.ID {
	if in.MultiRegion {
		return id.Global()
	}
	return id
}

// key is the key that would be.
func (in *CreateKeyInput) key(w *work) kms.Key {
	p := in.plan
	k := kms.Key{
		ID: in.made.key, Namespace: w.call.Namespace, Name: completed(in.Name, in.made.key), Region: w.call.Region, Aliases: slices.Clone(in.Aliases), Algorithm: p.algorithm,
		Usage: p.usage, Also: in.Also, Bytes: p.bytes, Origin: kms.Generated, Switch: kms.Enabled, Primary: 1, Latest: 1, Description: in.Description,
		Labels: maps.Clone(p.labels), Created: w.now.UTC(), Changed: w.now.UTC(),
		Freeze: p.freeze, ProcessDeactivated: p.processDeactivated, Exportable: p.exportable, Class: p.class, Period: p.period, Transit: in.Transit,
	}
	if p.template != nil {
		k.Template = p.template.Name
	}
	if in.Import {
		k.Origin, k.Switch, k.Primary, k.Latest = kms.Imported, kms.PendingImport, 0, 0
	}
	if in.came != nil {
		in.came.settle(&k)
	}
	k.Transit = k.Settled()
	return k
}

func doCreate(_ context.Context, w *work, tx *records.Tx, in *CreateKeyInput) (KeyOutput, error) {
	if err := w.planStands(tx, in.plan); err != nil {
		return KeyOutput{}, err
	}
	k := in.key(w)
	for i, name := range append([]string{k.Name}, in.Aliases...) {
		if err := takeName(tx, k.Namespace, records.Name{Key: k.ID, Name: name, Alias: i > 0}); err != nil {
			return KeyOutput{}, err
		}
	}
	w.rec.Resource = k.Name
	w.rec.Detail = fmt.Sprintf("%s for %s", k.Algorithm, k.Usage)
	if k.Also != 0 {
		w.rec.Detail += " and " + k.Also.String()
	}
	if in.MultiRegion {
		w.rec.Detail += ", multi-Region, at home in " + k.Region
	}
	if k.Template != "" {
		w.rec.Detail += ", by template " + k.Template
	}
	if !k.Period.IsZero() {
		if err := rotation.Check(k.Period, w.rules.ns.Dev); err != nil {
			return KeyOutput{}, err
		}
		row := records.Key{Key: k}
		first := kms.Version{State: in.Dates.state(), ActivateAt: in.Dates.ActivateAt}
		if err := w.planFrom(tx, &row, servesFrom(&k, &first)); err != nil {
			return KeyOutput{}, err
		}
		k = row.Key
		w.rec.Detail += ", cryptoperiod: " + periodWords(k.Period)
	}
	if w.call.DryRun {
		k.ID, k.Name = kms.ID{}, in.Name // there is none
		return KeyOutput{Key: k}, nil
	}
	if in.policy != nil {
		k.HasPolicy = true
		w.rec.Detail += fmt.Sprintf(", key policy sha256:%x", sha256.Sum256([]byte(in.Policy)))
		p := records.KeyPolicy{Text: in.Policy, Account: w.e.Account(k.Namespace), Changed: w.now.UTC(), By: w.call.Principal.Name}
		if err := tx.PutKeyPolicy(k.ID, p); err != nil {
			return KeyOutput{}, err
		}
	}
	out := KeyOutput{Key: k}
	switch {
	case in.came != nil:
		var err error
		if out.Versions, err = in.came.put(w, tx, &k); err != nil {
			return KeyOutput{}, err
		}
	case !in.Import:
		v, err := w.putVersion(tx, &k, in.made, in.Dates)
		if err != nil {
			return KeyOutput{}, err
		}
		out.Versions = []kms.Version{v}
	}
	w.rec.Keys = append(w.rec.Keys[:0], keyUse(k.ID, k.Primary, 0))
	w.onCommit([32]byte{}, func(leaf [32]byte) error { return tx.InsertKey(records.Key{Key: k, Change: leaf}) })
	return out, nil
}

func takeName(tx *records.Tx, ns kms.Namespace, n records.Name) error {
	taken, err := tx.ClaimName(ns, n)
	if taken {
		return kms.Errorf(kms.CodeExists, "the name %q is taken in namespace %q", n.Name, ns)
	}
	return err
}
