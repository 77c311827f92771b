package engine_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/rotation"
)

// selected are the names of the rows that a filter selects, judged by the rows alone.
func selected(rows []engine.InventoryRow, f engine.InventoryFilter, overdue func(kms.Key) bool) string {
	var kept []engine.InventoryRow
	for _, r := range rows {
		k := r.Key
		ok := strings.HasPrefix(k.Name, f.NamePrefix) && (f.Algorithm == 0 || f.Algorithm == k.Algorithm) && (f.Usage == 0 || f.Usage == k.Usage) &&
			(f.Switch == 0 || f.Switch == k.Switch) && (f.Origin == 0 || f.Origin == k.Origin) && (f.Class == "" || f.Class == k.Class) && (!f.Overdue || overdue(k))
		for name, value := range f.Labels {
			ok = ok && k.Labels[name] == value
		}
		for _, u := range f.Unknown {
			ok = ok && strings.Contains(" "+strings.Join(r.Unknown, " ")+" ", " "+u+" ")
		}
		if ok {
			kept = append(kept, r)
		}
	}
	return namesOf(kept)
}

// TestOutlinesMissNothing walks with random filters between random changes: a filter selects what it selects of a walk without any.
func TestOutlinesMissNothing(t *testing.T) {
	w := newWorld(t)
	d := rand.New(rand.NewPCG(1, 2))
	pick := func(all ...string) string { return all[d.IntN(len(all))] }
	rounds := 12
	if os.Getenv("KEYHOLD_LONG") == "1" {
		rounds = 400
	}
	var names []string
	create := func() {
		name := fmt.Sprintf("%s%03d", pick("", "a/", "a/b/", "a-long-folder/of-many/", "a-long-folder/of-many-more-than-that/with-names/of-more-than-forty-eight-bytes/"), len(names))
		in := engine.CreateKeyInput{Name: name, Algorithm: kms.AES256GCM, Class: pick("", "one", "two"), Description: pick("", "said")}
		switch d.IntN(6) {
		case 0:
			in.Algorithm = kms.Ed25519
		case 1:
			in.Import = true
		case 2:
			in.Labels = map[string]string{"owner": pick("ops", "hr"), "env": pick("prod", "dev")}
		case 3:
			in.Period = &kms.Period{Every: 86400}
		}
		if _, err := w.e.CreateKey(t.Context(), admin, in); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	change := func() {
		i := d.IntN(len(names))
		key, err := kms.Ref(names[i]), error(nil)
		switch d.IntN(5) {
		case 0:
			_, err = w.e.DisableKey(t.Context(), admin, engine.KeyInput{Key: key})
		case 1:
			_, err = w.e.EnableKey(t.Context(), admin, engine.KeyInput{Key: key})
		case 2:
			class := pick("one", "two", "three")
			_, err = w.e.UpdateKey(t.Context(), admin, engine.UpdateKeyInput{Key: key, Class: &class, SetLabels: map[string]string{"owner": pick("ops", "hr", "it")}})
		case 3:
			name := "renamed/" + strings.ReplaceAll(names[i], "renamed/", "")
			if name != names[i] {
				_, err = w.e.UpdateKey(t.Context(), admin, engine.UpdateKeyInput{Key: key, Name: &name})
				names[i] = name
			}
		case 4:
			_, err = w.e.ScheduleRotation(t.Context(), admin, engine.ScheduleRotationInput{Key: key, Period: kms.Period{Every: kms.Seconds(3600 * (1 + d.IntN(48)))}})
		}
		if err != nil && kms.AsError(err).Kind() != kms.KindState {
			t.Fatal(err)
		}
	}
	for range 150 {
		create()
	}
	found := 0
	for range rounds {
		for range 6 {
			f := engine.InventoryFilter{}
			f.NamePrefix = pick("", "", "a", "a/", "a/b/0", "a-long-folder/of-many", "a-long-folder/of-many-more", "renamed/", "a-long-folder/of-many-more-than-that/with-names/of-more-than-forty-eight-bytes/0")
			switch d.IntN(8) {
			case 0:
				f.Class = pick("one", "two", "three", "four")
			case 1:
				f.Labels = map[string]string{"owner": pick("ops", "hr", "it")}
			case 2:
				f.Labels = map[string]string{"owner": pick("ops", "hr", "it"), "env": pick("prod", "dev")}
			case 3:
				f.Switch = kms.AllSwitches()[d.IntN(4)]
			case 4:
				f.Unknown = []string{pick("class", "owner", "purpose", "rotation")}
			case 5:
				f.Algorithm, f.Origin = kms.AES256GCM, kms.Imported
			case 6:
				f.Overdue = true
			case 7:
				f.Usage, f.Class = kms.SignVerify, pick("", "one")
			}
			want := selected(w.inventory(admin, engine.InventoryFilter{}, 0), f, func(k kms.Key) bool { return k.Switch == kms.Enabled && rotation.Missed(k.RotateAt, w.now) })
			for _, limit := range []int{0, 1 + d.IntN(20)} {
				if got := namesOf(w.inventory(admin, f, limit)); got != want {
					t.Fatalf("%+v, pages of %d:\ngot  %s\nwant %s", f, limit, got, want)
				}
			}
			if sum := w.summary(f); sum.Keys != len(strings.Fields(want)) {
				t.Fatalf("%+v: the summary counts %d, want %d", f, sum.Keys, len(strings.Fields(want)))
			}
			found += len(strings.Fields(want))
		}
		for range d.IntN(10) {
			change()
		}
		for range d.IntN(4) {
			create()
		}
		w.now = w.now.Add(day / 8)
	}
	if found < rounds*10 {
		t.Errorf("the filters selected %d keys in all: they do not test", found)
	}
}

// TestAnAnsweredChangeIsFound: whatever walks and changes are under way, a filter finds a key as its last answered change left it.
func TestAnAnsweredChangeIsFound(t *testing.T) {
	w := newWorld(t)
	for i := range 100 {
		w.create(fmt.Sprintf("k%03d", i), kms.AES256GCM, 0)
	}
	w.inventory(admin, engine.InventoryFilter{Class: "none"}, 0) // there are outlines
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := range 25 {
				class, key := fmt.Sprintf("c-%d-%d", worker, i), fmt.Sprintf("k%03d", 25*worker+i)
				if _, err := w.e.UpdateKey(t.Context(), admin, engine.UpdateKeyInput{Key: kms.Ref(key), Class: &class}); err != nil {
					t.Error(err)
					return
				}
				out, err := w.e.ReadInventory(t.Context(), admin, engine.InventoryInput{Filter: engine.InventoryFilter{Class: class}})
				if got := namesOf(out.Rows); err != nil || got != key {
					t.Errorf("class %s: got %q %v, want %s", class, got, err, key)
				}
			}
		})
	}
	all.Wait()
}
