package main

import (
	"slices"
	"testing"
)

func TestTheYardstickComesFirstEverywhere(t *testing.T) {
	steps, err := plan("all", "all")
	if err != nil || len(steps) < 18 {
		t.Fatalf("got %d steps, %v", len(steps), err)
	}
	for _, s := range steps {
		if label(s.servers[0]) != bareOff || !slices.ContainsFunc(s.servers, func(n string) bool { return label(n) == product }) {
			t.Errorf("%s on %d connections: got %v", s.op, s.conns, s.servers)
		}
	}
}

func TestPlansCanBeNarrowed(t *testing.T) {
	steps, err := plan("decrypt-32,create", "bare,keyhold")
	if err != nil || len(steps) != 2 {
		t.Fatalf("got %v, %v", steps, err)
	}
	if got, want := steps[0].servers, []string{bareOff, product, also}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	// What creates keys without end does so in processes of its own.
	if got, want := steps[1].servers, []string{bareOff + apart, product + apart, also}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, bad := range [][2]string{{"encrypt-33", "all"}, {"all", "openbao"}, {"", "all"}} {
		if _, err := plan(bad[0], bad[1]); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestAnotherServerTakesItsPlace(t *testing.T) {
	for value, want := range map[string][]string{"": {bareOff, product}, "openbao,vault,https://127.0.0.1:8200,7": {bareOff, product, "openbao"}} {
		steps, err := plan("read", "bare,keyhold")
		if err != nil {
			t.Fatal(err)
		}
		b := &bench{options: options{also: value}, servers: map[string]*server{}}
		if err := b.other(steps); err != nil || !slices.Equal(steps[0].servers, want) {
			t.Errorf("%q: got %q, %v, want %q", value, steps[0].servers, err, want)
		}
	}
	for _, bad := range []string{"x", "a,b,c", "a,vault,https://127.0.0.1:1,pid", "a,b,c,4,5"} {
		b := &bench{options: options{also: bad}, servers: map[string]*server{}}
		if b.other(nil) == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}
