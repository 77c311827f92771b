package engine

import (
	"context"
	"slices"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/rotation"
	"github.com/keyhold/keyhold/internal/usage"
)

// Limits of one request to the inventory. What is asked for may select one key of a million, and records are sealed, so that the store cannot look for it: a
// request ends when it has taken its time, and says where to go on. Outlines in memory keep most filters from that.
const (
	inventoryTime  = 40 * time.Millisecond
	inventoryKeys  = 20_000  // keys that it looks at
	inventoryBytes = 4 << 20 // of its rows, about; a message has 8 MiB
	dataKeysShown  = 1000    // data keys that are counted under one key
	usageAtOnce    = 16      // versions whose use is read together
	usagePages     = 5       // pages of usagePage versions whose use is read of one key
)

var (
	readInventory = op[InventoryInput, InventoryOutput]{
		name: kms.ReadInventory,
		check: func(in *InventoryInput) error {
			if err := in.Filter.check(); err != nil {
				return err
			}
			return checkLimit(&in.Limit)
		},
		do: doReadInventory,
	}
	summarizeInventory = op[InventorySummaryInput, InventorySummaryOutput]{
		name:  kms.ReadInventory,
		check: func(in *InventorySummaryInput) error { return in.Filter.check() },
		do:    doSummarizeInventory,
	}
)

// ReadInventory answers what is known of every key: what it protects, where it lives, who may use and manage it, how it is rotated, when it was used last, and
// what is unknown.
func (e *Engine) ReadInventory(ctx context.Context, c kms.Call, in InventoryInput) (InventoryOutput, error) {
	return use(ctx, e, c, &readInventory, &in)
}

// SummarizeInventory counts keys by what is known of them.
func (e *Engine) SummarizeInventory(ctx context.Context, c kms.Call, in InventorySummaryInput) (InventorySummaryOutput, error) {
	return use(ctx, e, c, &summarizeInventory, &in)
}

func (f *InventoryFilter) check() error {
	if len(f.NamePrefix) > kms.MaxName || len(f.Labels) > kms.MaxLabels || len(f.Unknown) > len(Unknowns()) {
		return kms.Errorf(kms.CodeTooLarge, "the filter asks for more than keys can have")
	}
	for _, u := range f.Unknown {
		if !slices.Contains(Unknowns(), u) {
			return kms.Errorf(kms.CodeBadRequest, "%q is nothing that is noted as unknown: want class, owner, purpose, rotation, use or access", clipTo(u, 64))
		}
	}
	return nil
}

// census goes through keys for one request.
type census struct {
	w      *work
	filter *InventoryFilter
	end    records.UsageEnd
	known  map[[32]byte]bool // which keys the caller may describe, by what the rules can tell
	who    *crowd            // nil: the caller may not see who may use a key
	bytes  int               // of the rows so far

	outlines *outlines // nil: they tell nothing about what the filter asks for
	wanted   wanted
}

func (w *work) census(ctx context.Context, f *InventoryFilter) (c *census, err error) {
	c = &census{w: w, filter: f, known: map[[32]byte]bool{}}
	if w.e.cfg.Log != nil {
		if c.end, err = w.knownEnd(ctx); err != nil {
			return nil, err
		}
	}
	if w.maySeeAccess() {
		if c.who, err = w.crowd(ctx); err != nil {
			return nil, err
		}
	}
	if f.outlined() {
		c.outlines = w.o.shelf.of(w.call.Namespace, w.now)
		c.wanted = c.outlines.wanted(f, w.now)
		err = c.outlines.refresh(ctx, w.o.records, w.call.Namespace)
	}
	return c, err
}

// maySeeAccess: who may use a key is for those who may ask that of policies, or read who did.
func (w *work) maySeeAccess() bool {
	return w.decide(w.rules.resource, kms.TestPolicy, nil).Allowed || w.decide(w.rules.resource, kms.ReadAudit, nil).Allowed
}

// each shows the rows that the filter selects until full tells that there are enough, or the request has done its part. next is where to go on.
func (c *census) each(ctx context.Context, page string, atOnce int, full func(*InventoryRow) bool) (next string, scanned int, err error) {
	var after kms.ID
	if page != "" {
		var ok bool
		if after, ok = pageID(page); !ok {
			return "", 0, badPage()
		}
	}
	read, enough := 0, false
	for begun := false; !begun || read < inventoryKeys && !c.over(); begun = true { // however long it took to begin: one portion, so that it goes on
		p, err := c.next(ctx, after, min(max(atOnce, read), scanPage))
		if err != nil {
			return "", scanned, err
		}
		for i := range p.keys {
			read++
			row, err := c.row(ctx, &p.keys[i])
			if err != nil {
				return "", scanned, err
			}
			if enough = row != nil && full(row) || c.over(); enough {
				if i < len(p.keys)-1 {
					return pageOf(p.keys[i].ID), scanned + i + 1, nil
				}
				break
			}
		}
		scanned += p.looked
		if p.last {
			return "", scanned, nil
		}
		if after = p.at; enough {
			break
		}
	}
	return pageOf(after), scanned, nil
}

// over tells whether the request has done its part.
func (c *census) over() bool {
	return time.Since(c.w.began) > inventoryTime || c.bytes > inventoryBytes
}

// inventoryPortion is what a census looks at next.
type inventoryPortion struct {
	keys   []kms.Key
	at     kms.ID // where to go on
	looked int    // keys that this stands for
	last   bool   // there are no more
}

// next reads the keys after one: those that outlines tell the filter may select, then all.
func (c *census) next(ctx context.Context, after kms.ID, n int) (p inventoryPortion, err error) {
	w := c.w
	if c.outlines != nil {
		ids, at, looked := c.outlines.seek(&c.wanted, after, min(n, keysAtOnce))
		for part := range slices.Chunk(ids, keysAtOnce) {
			keys, err := w.o.records.KeysOf(ctx, w.call.Namespace, part)
			if err != nil {
				return p, err
			}
			p.keys = append(p.keys, keys...)
		}
		if looked > 0 {
			p.at, p.looked = at, looked
			return p, nil
		}
	}
	keys, more, err := w.o.records.Keys(ctx, w.call.Namespace, after, n)
	if err != nil {
		return p, err
	}
	if c.outlines != nil && w.o.shelf.room(c.outlines, len(keys)) {
		c.outlines.extend(after, keys)
	}
	return inventoryPortion{keys: keys, at: more, looked: len(keys), last: more.IsZero()}, nil
}

// row is what is known of a key so far as the filter and a summary want it; nil if the filter does not select it or the caller may not see it. What is
// cheap is looked at first.
func (c *census) row(ctx context.Context, k *kms.Key) (*InventoryRow, error) {
	w, f := c.w, c.filter
	lifecycle.Primary(k, w.now)
	if !f.selects(k, w.now) {
		return nil, nil //nolint:nilnil // it is not wanted
	}
	row := &InventoryRow{Key: *k, Rotation: rotates(k, w.now)}
	row.Unknown = unsaid(k)
	for _, u := range f.Unknown {
		if u != UnknownUse && u != UnknownAccess && !slices.Contains(row.Unknown, u) {
			return nil, nil //nolint:nilnil // likewise
		}
	}
	if may, err := c.describable(ctx, k); err != nil || !may {
		return nil, err
	}
	if c.who != nil && c.who.people.cut && k.Switch != kms.DestroyedKey {
		row.Unknown = append(row.Unknown, UnknownAccess)
	}
	var err error
	if row.Use, err = w.lastUse(ctx, k); err != nil {
		return nil, err
	}
	if row.Use.Last.IsZero() && (c.end.Begun.IsZero() || k.Created.Before(c.end.Begun)) {
		row.Unknown = append(row.Unknown, UnknownUse)
	}
	for _, u := range f.Unknown {
		if !slices.Contains(row.Unknown, u) {
			return nil, nil //nolint:nilnil // likewise
		}
	}
	if !f.UnusedSince.IsZero() && !row.Use.Last.Before(f.UnusedSince) {
		return nil, nil //nolint:nilnil // likewise
	}
	if f.State != 0 {
		if row.State, err = w.primaryState(ctx, k); err != nil || row.State != f.State {
			return nil, err
		}
	}
	return row, nil
}

// selects decides by the key's record alone.
func (f *InventoryFilter) selects(k *kms.Key, now time.Time) bool {
	return f.KeyFilter.selects(k) && (f.Origin == 0 || f.Origin == k.Origin) && (f.Class == "" || f.Class == k.Class) &&
		(f.Template == "" || f.Template == k.Template) && (!f.Overdue || overdue(k, now)) && (f.UnusedSince.IsZero() || k.Created.Before(f.UnusedSince))
}

// describable tells whether the caller may see the key at all. Where the rules tell nothing about keys apart, they are asked once.
func (c *census) describable(ctx context.Context, k *kms.Key) (bool, error) {
	if hasRules(k) {
		return c.w.mayDescribe(ctx, k)
	}
	alike := c.w.rules.Alike(k)
	if may, ok := c.known[alike]; ok {
		return may, nil
	}
	may, err := c.w.mayDescribe(ctx, k)
	c.known[alike] = may // what depends on the time or the caller's address is the same within a request
	return may, err
}

func overdue(k *kms.Key, now time.Time) bool {
	return k.Switch == kms.Enabled && rotation.Missed(k.RotateAt, now)
}

func rotates(k *kms.Key, now time.Time) KeyRotation {
	r := KeyRotation{How: RotatesByHand, Last: k.Rotated, Next: k.RotateAt, Overdue: overdue(k, now)}
	scheduled, limited := k.Period.Every != 0 || k.Period.Calendar != "", k.Period.Operations|k.Period.Bytes != 0
	switch {
	case scheduled && limited:
		r.How = RotatesByBoth
	case scheduled:
		r.How = RotatesBySchedule
	case limited:
		r.How = RotatesByLimit
	}
	if r.Last.IsZero() {
		r.Last = k.Created
	}
	if !k.NextAt.IsZero() && (r.Next.IsZero() || k.NextAt.Before(r.Next)) {
		r.Next = k.NextAt
	}
	return r
}

// unsaid is what the key's record does not say.
func unsaid(k *kms.Key) (names []string) {
	note := func(name string, unknown bool) {
		if unknown {
			names = append(names, name)
		}
	}
	note(UnknownClass, k.Class == "")
	note(UnknownOwner, k.Labels[kms.LabelOwner] == "")
	note(UnknownPurpose, k.Labels[kms.LabelPurpose] == "" && k.Description == "")
	note(UnknownRotation, k.Switch != kms.DestroyedKey && k.Period.IsZero() && k.RotateAt.IsZero() && k.NextAt.IsZero())
	return names
}

// lastUse adds up what the ledger says of a key's versions.
func (w *work) lastUse(ctx context.Context, k *kms.Key) (u LastUse, err error) {
	add := func(rows []records.Usage) {
		for i := range rows {
			for _, l := range rows[i].Lines {
				if l.Code == 0 && !usage.Moves(l.Action) {
					u.Last, u.Done = later(u.Last, l.Last), u.Done+l.N
				}
			}
		}
	}
	if k.Latest < usageAtOnce {
		rows, err := w.o.records.UsageUpTo(ctx, k.ID, k.Latest)
		add(rows)
		return u, err
	}
	after := uint32(0)
	for range usagePages {
		rows, next, err := w.o.records.Usage(ctx, k.ID, after, usagePage)
		if err != nil {
			return u, err
		}
		add(rows)
		if next == 0 {
			break
		}
		after = next
	}
	return u, nil
}

// primaryState is the state of the version that protects; 0: there is none.
func (w *work) primaryState(ctx context.Context, k *kms.Key) (kms.State, error) {
	if k.Primary == 0 {
		return 0, nil
	}
	v, err := w.o.records.Version(ctx, k.ID, k.Primary)
	if err != nil || v.Rev == 0 {
		return 0, err
	}
	return lifecycle.StateAt(&v.Version, w.now), nil
}

func doReadInventory(ctx context.Context, w *work, in *InventoryInput) (InventoryOutput, error) {
	c, err := w.census(ctx, &in.Filter)
	if err != nil {
		return InventoryOutput{}, err
	}
	out := InventoryOutput{Since: c.end.Begun, Through: c.end.Time, Access: c.who != nil}
	var failed error
	out.Next, out.Scanned, err = c.each(ctx, in.Page, in.Limit, func(row *InventoryRow) bool {
		if failed = c.complete(ctx, row); failed != nil {
			return true
		}
		out.Rows = append(out.Rows, *row)
		return len(out.Rows) == in.Limit
	})
	if failed != nil {
		err = failed
	}
	if err != nil {
		return InventoryOutput{}, err
	}
	return out, nil
}

// complete adds what only the rows of an answer say.
func (c *census) complete(ctx context.Context, row *InventoryRow) error {
	w, k := c.w, &row.Key
	v, _, err := w.o.records.Versions(ctx, k.ID, k.Latest, 0, shownAtOnce)
	if err != nil {
		return err
	}
	for i := range v {
		v[i].State = lifecycle.StateAt(&v[i], w.now)
		v[i].History, v[i].Public = nil, nil // DescribeKey has them
	}
	row.Versions = v
	if i := slices.IndexFunc(v, func(v kms.Version) bool { return v.Number == k.Primary }); i >= 0 {
		row.State = v[i].State
	} else if row.State, err = w.primaryState(ctx, k); err != nil {
		return err
	}
	held, err := w.o.records.CountAllDataKeys(ctx, k.ID, dataKeysShown)
	if err != nil {
		return err
	}
	row.DataKeys, row.OutsideDataKeys = held.Held, held.Outside
	if c.who != nil && k.Switch != kms.DestroyedKey {
		if row.Access, err = w.access(ctx, c.who, k); err != nil {
			return err
		}
	}
	c.bytes += weight(row)
	return nil
}

// weight is about how many bytes a row has in an answer.
func weight(row *InventoryRow) int {
	n := 512 + len(row.Key.Description) + 128*len(row.Versions)
	for name, value := range row.Key.Labels {
		n += len(name) + len(value) + 8
	}
	for _, list := range [][]string{row.Key.Aliases, row.Access.Users, row.Access.Managers} {
		for _, s := range list {
			n += len(s) + 4
		}
	}
	return n
}

func doSummarizeInventory(ctx context.Context, w *work, in *InventorySummaryInput) (InventorySummaryOutput, error) {
	c, err := w.census(ctx, &in.Filter)
	if err != nil {
		return InventorySummaryOutput{}, err
	}
	out := InventorySummaryOutput{Class: map[string]int{}, Algorithm: map[string]int{}, Switch: map[string]int{}, Rotation: map[string]int{}, Unknown: map[string]int{}}
	out.Next, out.Scanned, err = c.each(ctx, in.Page, scanPage, func(row *InventoryRow) bool {
		k := &row.Key
		out.Keys++
		if row.Rotation.Overdue {
			out.Overdue++
		}
		if row.Use.Last.IsZero() && !slices.Contains(row.Unknown, UnknownUse) {
			out.NeverUsed++
		}
		out.Class[k.Class]++
		out.Algorithm[k.Algorithm.String()]++
		out.Switch[k.Switch.String()]++
		out.Rotation[row.Rotation.How]++
		for _, u := range row.Unknown {
			out.Unknown[u]++
		}
		return false
	})
	if err != nil {
		return InventorySummaryOutput{}, err
	}
	return out, nil
}
