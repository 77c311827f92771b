package usage

import (
	"slices"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
)

// Various stands in a row for the codes of others' refusals, which are not told apart. It is no code of its own.
const Various kms.Code = 1

// add adds a tally of a user to a row.
func add(row *records.Usage, who records.User, t records.Tally) {
	t.User = place(row, who, t.Code == 0)
	if t.User == records.Others {
		lump(row, t)
		return
	}
	if i := find(row, &t); i >= 0 {
		merge(&row.Lines[i], &t)
		return
	}
	if named(row) < records.MaxUserLines {
		row.Lines = append(row.Lines, t)
		return
	}
	lump(row, t)
}

// place is the index of a user in a row. One that uses the key may take the place of one that was only ever refused: strangers must not keep those who
// matter out of the evidence.
func place(row *records.Usage, who records.User, uses bool) int {
	for i := range row.Users {
		if u := &row.Users[i]; u.Is(who) {
			if who.Name != "" {
				u.Name, u.Home = who.Name, who.Home
			}
			return i
		}
	}
	if len(row.Users) < records.MaxUsers {
		row.Users = append(row.Users, who)
		return len(row.Users) - 1
	}
	if !uses {
		return records.Others
	}
	i := idle(row)
	if i < 0 {
		return records.Others
	}
	var theirs []records.Tally
	row.Lines = slices.DeleteFunc(row.Lines, func(t records.Tally) bool {
		if t.User == i {
			theirs = append(theirs, t)
		}
		return t.User == i
	})
	for _, t := range theirs {
		lump(row, t)
	}
	row.Users[i] = who
	return i
}

// idle is the user that was refused longest ago of those that were only ever refused; -1: there is none.
func idle(row *records.Usage) int {
	var last [records.MaxUsers]time.Time
	var uses [records.MaxUsers]bool
	for i := range row.Lines {
		if t := &row.Lines[i]; t.User >= 0 {
			uses[t.User] = uses[t.User] || t.Code == 0
			last[t.User] = later(last[t.User], t.Last)
		}
	}
	best := -1
	for i := range row.Users {
		if !uses[i] && (best < 0 || last[i].Before(last[best])) { //nolint:gosec // G602: a row has MaxUsers users at most
			best = i
		}
	}
	return best
}

// lump counts a tally under nobody in particular: by action, and whether it was done, refused because the key is to be destroyed, or refused.
func lump(row *records.Usage, t records.Tally) {
	t.User, t.Dialect = records.Others, 0
	if t.Code != 0 && t.Code != kms.CodeKeyPendingDestruction {
		t.Code = Various
	}
	if i := find(row, &t); i >= 0 {
		merge(&row.Lines[i], &t)
		return
	}
	row.Lines = append(row.Lines, t)
}

func find(row *records.Usage, t *records.Tally) int {
	for i := range row.Lines {
		if l := &row.Lines[i]; l.User == t.User && l.Action == t.Action && l.Dialect == t.Dialect && l.Code == t.Code {
			return i
		}
	}
	return -1
}

func named(row *records.Usage) (n int) {
	for i := range row.Lines {
		if row.Lines[i].User != records.Others {
			n++
		}
	}
	return n
}

func merge(into, t *records.Tally) {
	into.N, into.Bytes = into.N+t.N, into.Bytes+t.Bytes
	into.First, into.Last = earlier(into.First, t.First), later(into.Last, t.Last)
}
