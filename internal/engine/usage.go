package engine

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/usage"
)

// UsageInput asks what a key was used for.
type UsageInput struct {
	Key     kms.Ref
	Version uint32 // 0: all
	After   uint32 // the previous answer's Next
	Limit   int    // versions; 0: 100; at most 200
}

// UsageOutput is what the audit log says of a key's use.
type UsageOutput struct {
	Key      kms.ID
	Name     string
	Since    time.Time // of the first record that the ledger knows: what was before is not in it
	Through  time.Time // of the last
	Versions []VersionUsage
	Next     uint32 // pass as After; 0: no more
}

// VersionUsage is the use of one version. Version 0: of the key without a version, mostly refusals because of the key.
type VersionUsage struct {
	Version    uint32
	First      time.Time // that something was done with it; zero: never
	Last       time.Time
	Done       uint64 // items
	Bytes      uint64
	Refused    uint64      // items
	Operations []Operation // by all
	Users      []UserUsage // latest use first; last of all those who are not told apart
}

// UserUsage is one principal's use.
type UserUsage struct {
	Name      string        // empty: erased, or never shown
	Namespace kms.Namespace // the principal's own
	Alias     [16]byte      // the keyed hash that the audit records have for it; zero with Others
	Others    bool          // principals that are not told apart
	First     time.Time     // that it did something; zero: never
	Last      time.Time
	Done      uint64
	Refused   uint64

	Operations []Operation
}

// Operation is one kind of use.
type Operation struct {
	Action  kms.Action
	Dialect kms.Dialect // 0: several
	Code    kms.Code    // why it was refused; 0: it was done; Various
	Count   uint64      // items
	Bytes   uint64
	First   time.Time
	Last    time.Time
}

// Various stands for refusals whose reasons are not told apart.
const Various = usage.Various

const usagePage = 200 // versions; a row can have some 40 KiB

var readUsage = op[UsageInput, UsageOutput]{
	name: kms.ReadUsage,
	roles: []role[UsageInput]{{action: kms.ReadUsage, need: lifecycle.Read,
		key: func(in *UsageInput) (kms.Ref, error) { return in.Key, nil }}},
	check: func(in *UsageInput) error {
		if in.Limit < 0 || in.Limit > usagePage {
			return kms.Errorf(kms.CodeTooLarge, "a page of %d versions was asked for: want 1 to %d", in.Limit, usagePage)
		}
		if in.Limit == 0 {
			in.Limit = pageDefault
		}
		return nil
	},
	do: doReadUsage,
}

// ReadUsage answers what a key was used for: by version, operation and principal.
func (e *Engine) ReadUsage(ctx context.Context, c kms.Call, in UsageInput) (UsageOutput, error) {
	return use(ctx, e, c, &readUsage, &in)
}

func doReadUsage(ctx context.Context, w *work, in *UsageInput) (UsageOutput, error) {
	k := w.keys[0]
	out := UsageOutput{Key: k.ID, Name: k.Name}
	if in.Version > k.Latest {
		return UsageOutput{}, kms.Errorf(kms.CodeVersionNotFound, "key %q has no version %d", k.Name, in.Version)
	}
	end, err := w.ledgerEnd(ctx)
	if err != nil {
		return UsageOutput{}, err
	}
	out.Since, out.Through = end.Begun, end.Time
	var rows []records.Usage
	if in.Version != 0 {
		w.rec.Keys[0].Version = in.Version
		row, err := w.o.records.UsageOf(ctx, k.ID, in.Version)
		if err != nil {
			return UsageOutput{}, err
		}
		rows = []records.Usage{row}
	} else if rows, out.Next, err = w.o.records.Usage(ctx, k.ID, in.After, in.Limit); err != nil {
		return UsageOutput{}, err
	}
	for i := range rows {
		v := versionUsage(&rows[i])
		v.Users = w.discreet(v.Users)
		out.Versions = append(out.Versions, v)
	}
	return out, nil
}

// ledgerEnd brings the ledger up to date and answers how far it is.
func (w *work) ledgerEnd(ctx context.Context) (records.UsageEnd, error) {
	if err := w.counted(ctx); err != nil || w.e.cfg.Log == nil {
		return records.UsageEnd{}, err
	}
	end, _, err := w.o.records.UsageEnd(ctx, w.e.cfg.Log.Node())
	return end, err
}

// versionUsage is a row as it is answered.
func versionUsage(row *records.Usage) VersionUsage {
	v := VersionUsage{Version: row.Version}
	users := make([]UserUsage, len(row.Users)+1)
	for i, u := range row.Users {
		users[i] = UserUsage{Name: u.Name, Namespace: u.Home, Alias: u.Alias}
	}
	users[len(row.Users)].Others = true
	for i := range row.Lines {
		l := &row.Lines[i]
		o := Operation{Action: l.Action, Dialect: l.Dialect, Code: l.Code, Count: l.N, Bytes: l.Bytes, First: l.First, Last: l.Last}
		u := &users[len(row.Users)]
		if l.User != records.Others {
			u = &users[l.User]
		}
		u.Operations = append(u.Operations, o)
		switch {
		case usage.Moves(l.Action):
		case l.Code != 0:
			v.Refused, u.Refused = v.Refused+l.N, u.Refused+l.N
		default:
			v.Done, v.Bytes, u.Done = v.Done+l.N, v.Bytes+l.Bytes, u.Done+l.N
			v.First, v.Last = first(v.First, l.First), later(v.Last, l.Last)
			u.First, u.Last = first(u.First, l.First), later(u.Last, l.Last)
		}
		v.Operations = addOperation(v.Operations, o)
	}
	for i := range users {
		if len(users[i].Operations) > 0 {
			v.Users = append(v.Users, users[i])
		}
	}
	slices.SortStableFunc(v.Users, func(a, b UserUsage) int {
		switch {
		case a.Others != b.Others && a.Others:
			return 1
		case a.Others != b.Others:
			return -1
		case !a.Last.Equal(b.Last):
			return b.Last.Compare(a.Last)
		}
		return strings.Compare(a.Name, b.Name)
	})
	return v
}

// addOperation adds a kind of use to the sums over all principals and dialects.
func addOperation(sums []Operation, o Operation) []Operation {
	if o.Code != 0 && o.Code != kms.CodeKeyPendingDestruction {
		o.Code = Various
	}
	o.Dialect = 0
	for i := range sums {
		if s := &sums[i]; s.Action == o.Action && s.Code == o.Code {
			s.Count, s.Bytes = s.Count+o.Count, s.Bytes+o.Bytes
			s.First, s.Last = first(s.First, o.First), later(s.Last, o.Last)
			return sums
		}
	}
	return append(sums, o)
}

// first is the earlier of two times; zero is none.
func first(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}
