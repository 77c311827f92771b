package engine

import (
	"context"
	"encoding/base64"
	"maps"
	"strings"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/cache"
	"github.com/keyhold/keyhold/internal/keyring"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
)

// Limits of listings.
const (
	pageDefault   = 100
	pageMost      = 1000
	shownAtOnce   = 20   // versions that DescribeKey answers
	scannedAtMost = 2000 // keys that one ListKeys looks at; the answer then says where to go on
	scanPage      = 500  // of them, read together
	shownKeys     = 4096 // keys whose newest versions are kept in memory after they were described …
	shownSteps    = 64   // … unless those have a longer history than this, all together
)

// The descriptors of what looks at metadata.
var (
	describeKey = op[KeyInput, KeyOutput]{
		name:  kms.DescribeKey,
		roles: keyRole(kms.DescribeKey, lifecycle.Read),
		do: func(ctx context.Context, w *work, _ *KeyInput) (KeyOutput, error) {
			k := w.keys[0]
			v, err := w.o.newest(ctx, k.Key)
			out := KeyOutput{Key: k.Key.Key, Versions: v}
			out.Key.Stand(w.call.Region)
			out.asOf(w.now)
			return out, err
		},
	}
	listVersions = op[VersionsInput, VersionsOutput]{
		name: kms.DescribeKey,
		roles: []role[VersionsInput]{{action: kms.DescribeKey, need: lifecycle.Read,
			key: func(in *VersionsInput) (kms.Ref, error) { return in.Key, nil }}},
		check: func(in *VersionsInput) error { return checkLimit(&in.Limit) },
		do: func(ctx context.Context, w *work, in *VersionsInput) (VersionsOutput, error) {
			k := w.keys[0]
			v, next, err := w.o.records.Versions(ctx, k.ID, k.Latest, in.Before, in.Limit)
			return VersionsOutput{Versions: versionsAt(v, w.now), Next: next}, err
		},
	}
	publicKey = op[PublicKeyInput, PublicKeyOutput]{
		name: kms.GetPublicKey,
		roles: []role[PublicKeyInput]{{action: kms.GetPublicKey, need: lifecycle.Publish,
			key: func(in *PublicKeyInput) (kms.Ref, error) { return in.Key, nil }}},
		do: doPublicKey,
	}
	listKeys = op[ListKeysInput, ListKeysOutput]{
		name:  kms.ListKeys,
		check: func(in *ListKeysInput) error { return checkLimit(&in.Limit) },
		do:    doListKeys,
	}
)

// shownAt is where the versions that DescribeKey shows are kept: every change of a version is one of its key, and gives that a new revision.
type shownAt struct {
	key kms.ID
	rev kms.Rev
}

func newShown() *cache.Cache[shownAt, []kms.Version] {
	return cache.New[shownAt](shownKeys, func([]kms.Version) bool { return true }, func([]kms.Version) {})
}

// newest answers the newest versions of a key. They are shared: nobody may change them.
func (o *opened) newest(ctx context.Context, k *keyring.Key) ([]kms.Version, error) {
	at := shownAt{k.ID, k.Rev}
	if v, ok := o.shown.Get(at); ok {
		return v, nil
	}
	v, _, err := o.records.Versions(ctx, k.ID, k.Latest, 0, shownAtOnce)
	if err != nil {
		return nil, err
	}
	steps := 0
	for i := range v {
		steps += len(v[i].History)
	}
	if steps <= shownSteps {
		return o.shown.Load(ctx, at, func(context.Context) ([]kms.Version, error) { return v, nil })
	}
	return v, nil
}

func checkLimit(limit *int) error {
	if *limit < 0 || *limit > pageMost {
		return kms.Errorf(kms.CodeTooLarge, "a page of %d was asked for: want 1 to %d", *limit, pageMost)
	}
	if *limit == 0 {
		*limit = pageDefault
	}
	return nil
}

func doPublicKey(ctx context.Context, w *work, in *PublicKeyInput) (PublicKeyOutput, error) {
	k := w.keys[0]
	n := in.Version
	if n == 0 {
		n = lifecycle.PrimaryAt(&k.Key.Key, w.now)
	}
	if !k.Algorithm.Facts().Asymmetric {
		return PublicKeyOutput{}, kms.Errorf(kms.CodeAlgorithm, "%s keys have no public half", k.Algorithm)
	}
	v, err := w.o.records.Version(ctx, k.ID, n)
	if err != nil {
		return PublicKeyOutput{}, err
	}
	w.rec.Keys[0].Version = n
	if v.Rev == 0 {
		return PublicKeyOutput{}, kms.Errorf(kms.CodeVersionNotFound, "key %q has no version %d", k.Name, n)
	}
	if err := lifecycle.Permits(w.switchOf(&k.Key.Key), lifecycle.StateAt(&v.Version, w.now), lifecycle.Publish, lifecycle.TermsAt(&k.Key.Key, &v.Version, w.now)); err != nil {
		return PublicKeyOutput{}, err
	}
	der := v.Public
	if len(in.Derivation) > 0 && k.Transit.Derived {
		if der, err = w.derivedPublic(ctx, n, in.Derivation); err != nil {
			return PublicKeyOutput{}, err
		}
	} else {
		w.hold(holding{role: 0, number: n})
	}
	out := PublicKeyOutput{Key: k.ID, Version: n, Algorithm: v.Algorithm, Usage: k.Usage, DER: der, Created: v.Created}
	for _, s := range v.Algorithm.Facts().Schemes {
		if k.Serves(s.Usage) {
			out.Schemes = append(out.Schemes, s.Scheme)
		}
	}
	return out, nil
}

// derivedPublic is the public half of what is derived from a version.
func (w *work) derivedPublic(ctx context.Context, n uint32, derivation []byte) ([]byte, error) {
	v, err := w.version(ctx, 0, n)
	if err != nil {
		return nil, err
	}
	var d derivations
	defer d.close()
	h, err := d.of(w.keys[0], v, derivation)
	if err != nil {
		return nil, err
	}
	return h.PublicKey()
}

// doListKeys shows only keys that the caller may describe: what it may not see does not exist for it.
func doListKeys(ctx context.Context, w *work, in *ListKeysInput) (ListKeysOutput, error) {
	var after kms.ID
	if in.Page != "" {
		var ok bool
		if after, ok = pageID(in.Page); !ok {
			return ListKeysOutput{}, badPage()
		}
	}
	var out ListKeysOutput
	for scanned := 0; scanned < scannedAtMost; {
		// At first as many as are wanted and one more, which tells whether there is a next page: mostly all of them are shown. If few are, more at a time.
		page := max(in.Limit+1-len(out.Keys), scanned)
		keys, next, err := w.o.records.Keys(ctx, w.call.Namespace, after, min(page, scanPage))
		if err != nil {
			return out, err
		}
		scanned += len(keys)
		for i := range keys {
			after = keys[i].ID
			if !keys[i].In(w.call.Region) || w.call.Admit != nil && w.call.Admit(&keys[i]) != nil {
				continue
			}
			keys[i].Stand(w.call.Region)
			if !in.Filter.selects(&keys[i]) {
				continue
			}
			if may, err := w.mayDescribe(ctx, &keys[i]); err != nil {
				return out, err
			} else if !may {
				continue
			}
			if len(out.Keys) == in.Limit {
				out.Next = pageOf(out.Keys[in.Limit-1].ID)
				return out, nil
			}
			lifecycle.Primary(&keys[i], w.now)
			out.Keys = append(out.Keys, keys[i])
		}
		if next.IsZero() {
			return out, nil
		}
	}
	out.Next = pageOf(after)
	return out, nil
}

func (w *work) mayDescribe(ctx context.Context, k *kms.Key) (bool, error) {
	return w.wouldAllow(ctx, k, kms.DescribeKey)
}

// wouldAllow tells whether the caller may do something with a key that was read. Nothing comes of it but the answer.
func (w *work) wouldAllow(ctx context.Context, k *kms.Key, a kms.Action) (bool, error) {
	on, err := w.keyResource(ctx, k, w.call.Principal.Name)
	if kms.CodeOf(err) == kms.CodeBadPolicy || kms.CodeOf(err) == kms.CodeConflict {
		return false, nil // one whose policy cannot be read is shown to nobody
	}
	return err == nil && w.decide(on, a, nil).Allowed, err
}

func (f *KeyFilter) selects(k *kms.Key) bool {
	if !strings.HasPrefix(k.Name, f.NamePrefix) || f.Algorithm != 0 && f.Algorithm != k.Algorithm ||
		f.Usage != 0 && f.Usage != k.Usage || f.Switch != 0 && f.Switch != k.Switch {
		return false
	}
	for l, want := range maps.All(f.Labels) {
		if got, ok := k.Labels[l]; !ok || got != want {
			return false
		}
	}
	return true
}

// Page tokens say where to go on, in ids that the caller has seen; they grant nothing.
func pageOf(id kms.ID) string { return base64.RawURLEncoding.EncodeToString(id[:]) }

func pageID(s string) (kms.ID, bool) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != 16 {
		return kms.ID{}, false
	}
	return kms.ID(b), true
}

func badPage() error {
	return kms.Errorf(kms.CodeBadToken, "the page token is not one that this listing gave")
}

func keyUse(id kms.ID, version uint32, rev kms.Rev) audit.KeyUse {
	return audit.KeyUse{Key: id, Version: version, Rev: rev}
}

func bytesPage(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func pageBytes(s string) ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) > 512 {
		return nil, badPage()
	}
	return b, nil
}
