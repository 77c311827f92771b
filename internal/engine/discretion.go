package engine

import "github.com/keyhold/keyhold/internal/records"

// Who used a key is for those who may ask policies about others, or read the audit log (maySeeAccess): to other readers of a key the ledger tells their own
// use, and that of all others together. What takes a decision about a key (retiring a version, answering a compromise) goes by names, and shows them.

// discreet answers users as the caller may see them. The sums stay what they are.
func (w *work) discreet(users []UserUsage) []UserUsage {
	if len(users) == 0 || w.maySeeAccess() {
		return users
	}
	p := w.call.Principal
	self := records.User{Alias: p.Alias, Name: p.Name, Home: p.Namespace}
	var own []UserUsage
	rest := UserUsage{Others: true}
	for _, u := range users {
		if !u.Others && self.Is(records.User{Alias: u.Alias, Name: u.Name, Home: u.Namespace}) {
			own = append(own, u)
			continue
		}
		rest.First, rest.Last = first(rest.First, u.First), later(rest.Last, u.Last)
		rest.Done, rest.Refused = rest.Done+u.Done, rest.Refused+u.Refused
		for _, o := range u.Operations {
			rest.Operations = addOperation(rest.Operations, o)
		}
	}
	if len(own) == len(users) {
		return own
	}
	return append(own, rest)
}

// discreetReport is a report as the caller may see it; the one that is stored, and that the digest is of, names everybody.
func (w *work) discreetReport(r Report) Report {
	if len(r.Users) == 0 || w.maySeeAccess() {
		return r
	}
	for _, u := range r.Users {
		r.Others += u.Done
	}
	r.Users = nil
	return r
}
