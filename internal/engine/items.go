package engine

import (
	"crypto/sha256"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/kms"
)

// checkItems bounds number and sizes of items.
func checkItems(n, most int, size func(int) (int, error)) error {
	if n < 1 || n > MaxItems {
		return kms.Errorf(kms.CodeTooLarge, "the request has %d items: want 1 to %d", n, MaxItems)
	}
	total := 0
	for i := range n {
		s, err := size(i)
		if err != nil {
			return err
		}
		if s > most {
			return kms.Errorf(kms.CodeTooLarge, "item %d has %d bytes, the limit is %d", i+1, s, most)
		}
		total += s
	}
	if total > MaxBatch {
		return kms.Errorf(kms.CodeTooLarge, "the batch has %d bytes, the limit is %d", total, MaxBatch)
	}
	return nil
}

func checkContext(c kms.Context, raw []byte) error {
	if len(c) > 0 && len(raw) > 0 {
		return kms.Errorf(kms.CodeBadRequest, "give an encryption context or raw additional data, not both")
	}
	if len(raw) > kms.MaxContextBytes {
		return kms.Errorf(kms.CodeTooLarge, "the additional data has %d bytes, the limit is %d", len(raw), kms.MaxContextBytes)
	}
	return c.Check()
}

// note adds an item's outcome to the record, with the version of the first key that it used, 0 if it reached none; a single item's failure is the call's.
func (w *work) note(n int, version uint32, bytes int, err error) (*kms.Error, error) {
	w.rec.Bytes += uint64(bytes) //nolint:gosec // G115: checked sizes
	var e *kms.Error
	if err != nil {
		e = kms.AsError(err)
	}
	if n == 1 {
		return e, err
	}
	it := audit.Item{Bytes: uint32(bytes)} //nolint:gosec // G115: checked sizes
	if e != nil {
		it.Code = e.Code
	}
	if w.rec.Items == nil {
		w.rec.Items = make([]audit.Item, 0, n)
	}
	w.under(version)
	w.rec.Items = append(w.rec.Items, it)
	return e, nil
}

// under tells the record which version the next item used. While all of them used the same one there is nothing to tell: it is the one that the key has.
func (w *work) under(version uint32) {
	before := len(w.rec.Items)
	switch last := len(w.rec.Versions) - 1; {
	case before == 0:
		w.version0 = version
	case last >= 0 && w.rec.Versions[last].Version == version:
		w.rec.Versions[last].Items++
	case last >= 0:
		w.rec.Versions = append(w.rec.Versions, audit.Run{Items: 1, Version: version})
	case version != w.version0:
		w.rec.Versions = []audit.Run{{Items: uint32(before), Version: w.version0}, {Items: 1, Version: version}} //nolint:gosec // G115: at most MaxItems
	}
}

// scheme settles which scheme is used with a version and asks the algorithm table whether it may be. A key serves one purpose, or at most two, and its versions may have
// different algorithms.
func (w *work) scheme(k admitted, a kms.Algorithm, u kms.Usage, s kms.Scheme, protect bool) (kms.Scheme, error) {
	if u == kms.MAC && k.Transit.Mac {
		s, err := kms.CheckBeside(a, s, w.e.cfg.Profile, protect)
		w.rec.Scheme = s
		return s, unfit(&k, err)
	}
	if u == kms.EncryptDecrypt && k.Transit.Derived {
		return 0, unfit(&k, kms.Errorf(kms.CodeUsage, "a key is derived from it for the context of each request: only the Vault dialect uses it"))
	}
	if !k.Serves(u) {
		return 0, unfit(&k, kms.Errorf(kms.CodeUsage, "the key is for %s, and this operation needs a key for %s", k.Usage, u))
	}
	s, err := kms.CheckScheme(a, u, s, w.e.cfg.Profile, protect)
	w.rec.Scheme = s
	return s, unfit(&k, err)
}

// items are the encryption contexts, or raw additional data, of an operation's items.
type items struct {
	n  int
	at func(i int) (kms.Context, []byte)
}

// first is the context that a decision starts from.
func (it items) first() kms.Context {
	if it.n == 0 {
		return nil
	}
	c, _ := it.at(0)
	return c
}

// digest is what the record holds of them: of one context its digest; of several that are not all empty, the SHA-256 of
// their digests in order. Zero: there are none.
func (it items) digest() (sum [32]byte) {
	if it.n == 0 {
		return sum
	}
	if it.n == 1 {
		return digestOfContext(it.at(0))
	}
	var all []byte
	some := false
	for i := range it.n {
		d := digestOfContext(it.at(i))
		some = some || d != [32]byte{}
		all = append(all, d[:]...)
	}
	if !some {
		return sum
	}
	return sha256.Sum256(all)
}

func digestOfContext(c kms.Context, raw []byte) [32]byte {
	if len(raw) > 0 {
		return kms.RawDigest(raw)
	}
	return kms.ContextDigest(c)
}
