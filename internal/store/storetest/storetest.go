// Package storetest is the contract of a store in executable form. Every implementation runs it in its own tests:
//
//	Run          the port as package store documents it
//	RunDurable   what must also survive closing and opening again
//	RunPruning   what a reader sees whose revision has been pruned
//	RunCopy      that an exported copy makes an equal store
//
// What the port leaves open is decided here: a malformed transaction (an empty key, one key written twice, a deletion
// with a value) is refused with store.ErrMalformed; a transaction without writes takes no revision, remembers no token
// and answers the revision at which its conditions held; a token answers before any condition is looked at; a feed ends
// without an error when its context ends, and with store.ErrPruned also when it was asked to start after the head.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/store"
)

// patience bounds every wait for something that must happen.
const patience = 20 * time.Second

// Run runs the contract against stores that open makes, each of them empty.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	for name, test := range map[string]func(*testing.T, store.Store){
		"AnEmptyStoreHasNothing":              emptyStore,
		"WhatIsCommittedIsRead":               roundTrip,
		"AWriteHappensOnlyIfItsConditionsDo":  conditions,
		"ATransactionIsWholeOrNothing":        whole,
		"MalformedTransactionsAreRefused":     malformed,
		"NothingPassesALimit":                 limits,
		"ATransactionWithoutWritesIsACheck":   pureCheck,
		"ATokenIsAppliedOnce":                 token,
		"ATokenIsAppliedOnceConcurrently":     tokenRace,
		"TheCallersBytesStayTheCallers":       aliasing,
		"ScanGoesInByteOrder":                 scanOrder,
		"PagesCoverEverythingOnce":            scanPages,
		"GetReadsOneSnapshot":                 snapshot,
		"HistoriesAreStrictlySerializable":    histories,
		"TheHashRunsOverEverything":           runningHash,
		"TheFeedIsCompleteAndInOrder":         feedComplete,
		"TheFeedWaitsForMore":                 feedWaits,
		"TheFeedEndsWithItsContext":           feedEnds,
		"AFeedFromTheFutureForgetsEverything": feedFuture,
		"ACancelledCallDoesNothing":           cancelled,
		"NothingWorksAfterClose":              closed,
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			test(t, s)
		})
	}
}

// put is a transaction of one write; at is the condition on it, or nil.
func put(key, value string, at *store.Rev) store.Txn {
	t := store.Txn{Then: []store.Write{{Key: []byte(key), Value: []byte(value)}}}
	if at != nil {
		t.If = []store.Cond{{Key: []byte(key), Rev: *at}}
	}
	return t
}

func at(r store.Rev) *store.Rev { return &r }

func del(key string) store.Txn {
	return store.Txn{Then: []store.Write{{Key: []byte(key), Delete: true}}}
}

func commit(t *testing.T, s store.Store, x store.Txn) store.Rev {
	t.Helper()
	rev, err := s.Commit(t.Context(), x)
	if err != nil {
		t.Fatalf("commit: got %v, want a revision", err)
	}
	return rev
}

func refuse(t *testing.T, s store.Store, x store.Txn, want error) {
	t.Helper()
	if rev, err := s.Commit(t.Context(), x); !errors.Is(err, want) {
		t.Fatalf("commit: got revision %d, error %v; want %v", rev, err, want)
	}
}

func get(t *testing.T, s store.Store, key string) store.Record {
	t.Helper()
	rs, _, err := s.Get(t.Context(), []byte(key))
	if err != nil || len(rs) != 1 {
		t.Fatalf("get %q: got %d records, %v", key, len(rs), err)
	}
	if string(rs[0].Key) != key {
		t.Fatalf("get %q: got key %q", key, rs[0].Key)
	}
	return rs[0]
}

func expect(t *testing.T, s store.Store, key, value string, rev store.Rev) {
	t.Helper()
	r := get(t, s, key)
	if r.Value == nil || string(r.Value) != value || r.Rev != rev {
		t.Fatalf("get %q: got %q at %d, want %q at %d", key, r.Value, r.Rev, value, rev)
	}
}

func absent(t *testing.T, s store.Store, key string) {
	t.Helper()
	if r := get(t, s, key); r.Rev != 0 || r.Value != nil {
		t.Fatalf("get %q: got %q at %d, want nothing", key, r.Value, r.Rev)
	}
}

func head(t *testing.T, s store.Store) store.Head {
	t.Helper()
	h, err := s.Confirm(t.Context())
	if err != nil {
		t.Fatalf("confirm: %v", err)
	}
	return h
}

// everything is all records of a store, read in pages.
func everything(t *testing.T, s store.Store, prefix string, page int) []store.Record {
	t.Helper()
	var all []store.Record
	var after []byte
	for {
		rs, _, err := s.Scan(t.Context(), []byte(prefix), after, page)
		if err != nil {
			t.Fatalf("scan: %v", err)
		}
		all = append(all, rs...)
		if len(rs) < page {
			return all
		}
		after = rs[len(rs)-1].Key
	}
}

// same tells how two lists of records differ.
func same(got, want []store.Record) error {
	if len(got) != len(want) {
		return fmt.Errorf("got %d records, want %d", len(got), len(want))
	}
	for i := range got {
		g, w := got[i], want[i]
		if !bytes.Equal(g.Key, w.Key) || g.Rev != w.Rev || !bytes.Equal(g.Value, w.Value) {
			return fmt.Errorf("record %d: got %q at %d, want %q at %d", i, g.Key, g.Rev, w.Key, w.Rev)
		}
	}
	return nil
}

// follow reads a feed until it is complete up to through.
func follow(t *testing.T, s store.Store, from, through store.Rev) []store.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var all []store.Event
	if from == through {
		return nil
	}
	last := from
	for b, err := range s.Feed(ctx, from) {
		if err != nil {
			t.Fatalf("feed from %d: %v", from, err)
		}
		if b.Through <= last {
			t.Fatalf("feed: a batch through %d after one through %d", b.Through, last)
		}
		for _, e := range b.Events {
			if e.Rev <= last || e.Rev > b.Through {
				t.Fatalf("feed: an event of revision %d between %d and %d", e.Rev, last, b.Through)
			}
		}
		all, last = append(all, b.Events...), b.Through
		if last >= through {
			return all
		}
	}
	t.Fatalf("feed from %d: it ended at %d, want %d", from, last, through)
	return nil
}
