package engine

import (
	"context"
	"slices"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
)

// residueCounted is how many managed data keys are counted under one version before it is only said that there are so many.
const residueCounted = 100_000

// usedFor reads all of a key's rows of the ledger, by version.
func (w *work) usedFor(ctx context.Context, key kms.ID) ([]VersionUsage, error) {
	var all []VersionUsage
	rows, next, err := w.o.records.Usage(ctx, key, 0, usagePage)
	for ; err == nil; rows, next, err = w.o.records.Usage(ctx, key, next, usagePage) {
		for i := range rows {
			all = append(all, versionUsage(&rows[i]))
		}
		if next == 0 {
			return all, nil
		}
	}
	return nil, err
}

// residue is what managed data keys are under a version.
func (w *work) residue(ctx context.Context, key kms.ID, version uint32) (records.DataKeyCount, error) {
	return w.o.records.CountDataKeys(ctx, key, version, residueCounted)
}

// residues are the versions that managed data keys are under.
func (w *work) residues(ctx context.Context, key kms.ID) ([]uint32, error) {
	var all []uint32
	for _, h := range []records.Holding{records.Held, records.Outside} {
		for after := uint32(0); ; {
			n, err := w.o.records.NextDataKeyVersion(ctx, key, h, after)
			if err != nil {
				return nil, err
			}
			if n == 0 {
				break
			}
			if after = n; !slices.Contains(all, n) {
				all = append(all, n)
			}
		}
	}
	return all, nil
}

// usersOf adds up what principals did over several versions: latest use first, without those who did nothing since a moment.
func usersOf(versions []VersionUsage, since time.Time) []UserUsage {
	var all []UserUsage
	for _, v := range versions {
		for _, u := range v.Users {
			if u.Done > 0 && !u.Last.Before(since) {
				all = append(all, u)
			}
		}
	}
	return joinUsers(all)
}

// joinUsers makes one of what the same principal did with several versions, latest first.
func joinUsers(parts []UserUsage) []UserUsage {
	type who struct {
		records.User
		others bool
	}
	at := map[who]int{}
	var all []UserUsage
	for _, u := range parts {
		key := who{records.User{Alias: u.Alias}, u.Others}
		if u.Alias == [16]byte{} {
			key.Name, key.Home = u.Name, u.Namespace
		}
		i, known := at[key]
		if !known {
			at[key] = len(all)
			all = append(all, u)
			continue
		}
		a := &all[i]
		a.First, a.Last, a.Done, a.Refused = first(a.First, u.First), later(a.Last, u.Last), a.Done+u.Done, a.Refused+u.Refused
		a.Operations = append(a.Operations[:len(a.Operations):len(a.Operations)], u.Operations...)
	}
	slices.SortStableFunc(all, func(a, b UserUsage) int { return b.Last.Compare(a.Last) })
	return all
}

// unknowable is what no ledger of this server knows about the reach of a key.
func unknowable(algorithm kms.Algorithm) []string {
	all := []string{
		"ciphertexts and data keys that clients hold: nobody can count them; who opens them shows here only when it is done",
		"copies of the data directory that were made beside the server",
	}
	if algorithm.Facts().Asymmetric {
		all = append(all, "who encrypts or verifies with a copy of the public half: that needs no server")
	}
	return all
}
