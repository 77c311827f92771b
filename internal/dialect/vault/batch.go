package vault

import (
	"net/http"
	"slices"

	"github.com/keyhold/keyhold/internal/kms"
)

// item is one of a batch, or the only one of a request without a batch.
type item struct {
	at      int
	in      fields
	version uint32 // that is asked for, then the one that did it
	made    []byte
	public  []byte // of a derived key that signed
	fault   *fault // why it was not done
}

// batch are the items of a request on one key, of one version or of several.
type batch struct {
	key     kms.Ref
	single  bool
	items   []item
	only    [1]item // of a request without a batch
	partial int     // status where some items failed; 0: 400
	missing string
	derived int // items that have a context

	noVersion, tooOld string // how this operation says that a version is not there, or below the minimum; empty: as all do
}

// batch reads the items of a request: batch_input, or else the request itself.
func (x *exchange) batch() (*batch, *fault) {
	b := &x.items
	b.key, b.missing = x.place.ref(x.place.names[0]), "encryption key not found"
	raw := x.in.raw("batch_input")
	if raw == nil {
		b.only[0].in = x.in
		b.single, b.items = true, b.only[:]
		return b, nil
	}
	var f *fault
	if b.partial, f = x.in.number("partial_failure_response_code"); f != nil {
		return nil, f
	}
	if b.partial != 0 && (b.partial < 200 || b.partial > 599) {
		return nil, badField("partial_failure_response_code")
	}
	values, f := x.j.list(raw)
	if f != nil {
		return nil, f
	}
	if len(values) == 0 {
		return nil, newFault(http.StatusBadRequest, "missing batch input to process")
	}
	b.items = make([]item, len(values))
	for i, v := range values {
		b.items[i].at = i
		if b.items[i].in, f = x.j.object(v, nil); f != nil {
			return nil, newFault(http.StatusBadRequest, "failed to parse batch input", f.texts[0])
		}
	}
	return b, nil
}

// blob is a member that an item must have, though it may be empty.
func (it *item) blob(x *exchange, name, missing string) []byte {
	if !it.in.has(name) {
		it.fail(newFault(http.StatusBadRequest, missing))
		return nil
	}
	return it.optional(x, name)
}

func (it *item) optional(x *exchange, name string) []byte {
	b, f := x.blob(it.in, name)
	it.fail(f)
	return b
}

func (it *item) number(name string) uint32 {
	n, f := it.in.version(name)
	it.fail(f)
	return n
}

// derivation is the context that a key is derived for; none and an empty one are the same.
func (it *item) derivation(x *exchange, b *batch) []byte {
	c := it.optional(x, "context")
	if len(c) > 0 {
		b.derived++
	}
	return c
}

// contexts: all items have one, or none has.
func (b *batch) contexts() *fault {
	if b.derived > 0 && b.derived < len(b.items) {
		return newFault(http.StatusBadRequest, "context should be set either in all the request blocks or in none")
	}
	return nil
}

// say is the fault of an error in the operation's words.
func (b *batch) say(err error) *fault {
	f := faultOf(err)
	text := ""
	switch kms.CodeOf(err) {
	case kms.CodeVersionNotFound:
		text = b.noVersion
	case kms.CodeTooOld:
		text = b.tooOld
	}
	if text != "" {
		f.texts[0] = text
	}
	return f
}

// fail notes the first thing that is wrong with an item.
func (it *item) fail(f *fault) {
	if it.fault == nil {
		it.fault = f
	}
}

// run does the items that can be done, one operation for each version that they ask for, and writes the answer. do answers the items' own
// errors; the error of the operation is for all of them, unless it is that of its only item.
func (b *batch) run(x *exchange, do func(version uint32, which []int) ([]*kms.Error, error), write func(*item)) *fault {
	for version, which := range b.byVersion() {
		errs, err := do(version, which)
		switch {
		case err == nil:
			for i, e := range errs {
				if e != nil {
					b.items[which[i]].fault = b.say(e)
				}
			}
		case len(which) == 1 && !b.single && ofItem(err):
			b.items[which[0]].fault = b.say(err)
		default:
			return noKey(b.say(err), http.StatusBadRequest, b.missing)
		}
	}
	if b.single {
		if f := b.items[0].fault; f != nil {
			return f
		}
		x.e.open()
		write(&b.items[0])
		x.e.close()
		return nil
	}
	b.write(x, write)
	return nil
}

// first is the only item's place. Nobody writes to it.
var first = []int{0}

// byVersion are the items without a fault, by the version that they ask for, in the order in which those are asked for.
func (b *batch) byVersion() func(func(uint32, []int) bool) {
	return func(yield func(uint32, []int) bool) {
		if len(b.items) == 1 {
			if b.items[0].fault == nil {
				yield(b.items[0].version, first)
			}
			return
		}
		var order []uint32
		groups := map[uint32][]int{}
		for i := range b.items {
			if b.items[i].fault != nil {
				continue
			}
			v := b.items[i].version
			if groups[v] == nil {
				order = append(order, v)
			}
			groups[v] = append(groups[v], i)
		}
		for _, v := range order {
			if !yield(v, groups[v]) {
				return
			}
		}
	}
}

// ofItem tells whether an error is of the item, and not of the key or the caller.
func ofItem(err error) bool {
	switch e := kms.AsError(err); e.Kind() {
	case kms.KindIntegrity:
		return e.Code != kms.CodeRecordDamaged
	case kms.KindInvalid:
		return true
	default:
		return e.Code == kms.CodeVersionNotFound || e.Code == kms.CodeTooOld
	}
}

// write answers a batch: 400 if an item failed by the caller's fault, 500 if by ours, or the status that the request wants where some succeeded.
func (b *batch) write(x *exchange, write func(*item)) {
	good := 0
	x.e.open()
	x.e.name("batch_results")
	x.e.list()
	for i := range b.items {
		it := &b.items[i]
		x.e.comma()
		x.e.open()
		if it.fault != nil {
			x.status = max(x.status, slices.Max([]int{it.fault.status, http.StatusBadRequest}))
			x.e.text("error", it.fault.Error())
		} else {
			good++
			write(it)
		}
		if r, f := it.in.text("reference"); f == nil && r != "" {
			x.e.text("reference", r)
		}
		x.e.close()
	}
	x.e.end()
	x.e.close()
	switch {
	case x.status == http.StatusOK:
	case b.partial != 0 && good > 0:
		x.status = b.partial
	case x.status < http.StatusInternalServerError:
		x.status = http.StatusBadRequest
	default:
		x.status = http.StatusInternalServerError
	}
}
