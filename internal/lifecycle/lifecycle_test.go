package lifecycle_test

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
)

// table reads a matrix: labels of the columns from the last comment line before the first row, then lines of `labels`
// words followed by one cell per column.
func table(t *testing.T, path string, labels int) (columns []string, rows map[string][]string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows = map[string][]string{}
	for in := bufio.NewScanner(f); in.Scan(); {
		line := in.Text()
		if comment, is := strings.CutPrefix(line, "#"); is {
			if len(rows) == 0 {
				columns = strings.Fields(comment)
			}
			continue
		}
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if len(words) != labels+len(columns) {
			t.Fatalf("%s: %q has %d words, want %d", path, line, len(words), labels+len(columns))
		}
		label := strings.Join(words[:labels], " ")
		if rows[label] != nil {
			t.Fatalf("%s: two rows for %s", path, label)
		}
		rows[label] = words[labels:]
	}
	return columns, rows
}

func allTerms() []lifecycle.Terms {
	var all []lifecycle.Terms
	for i := range 16 {
		all = append(all, lifecycle.Terms{Freeze: i&1 != 0, ProcessDeactivated: i&2 != 0, Recall: i&4 != 0, Compromised: i&8 != 0})
	}
	return all
}

// wantOf reads a cell of permits.txt: the code that is due under terms, 0 for a permission.
func wantOf(t *testing.T, cell string, terms lifecycle.Terms) kms.Code {
	t.Helper()
	if cell == "+" {
		return 0
	}
	if rest, is := strings.CutPrefix(cell, "F"); is && terms.Freeze {
		if cell == "F" || rest != "" {
			return frozen
		}
	} else if is {
		cell = rest
	}
	switch cell {
	case "":
		return 0
	case "P":
		return onlyIf(terms.ProcessDeactivated || terms.Recall)
	case "R":
		return onlyIf(terms.Recall)
	case "C":
		return onlyIf(terms.Compromised)
	}
	n, err := strconv.ParseUint(cell, 10, 16)
	if err != nil || n < 1501 {
		t.Fatalf("cell %q is not understood", cell)
	}
	return kms.Code(n)
}

// frozen stands for the refusal of the preset freeze: the key's code where the key is suspended, else the version's.
const frozen kms.Code = 9999

func onlyIf(ok bool) kms.Code {
	if ok {
		return 0
	}
	return kms.CodeVersionState
}

// TestStateDecidesInOneTable compares every switch × state × need × terms with the matrix in testdata.
func TestStateDecidesInOneTable(t *testing.T) {
	columns, rows := table(t, "testdata/permits.txt", 2)
	cells := 0
	for _, sw := range kms.AllSwitches() {
		for _, need := range lifecycle.AllNeeds() {
			row := rows[sw.String()+" "+need.String()]
			if row == nil {
				t.Fatalf("the matrix has no row for %s %s", sw, need)
			}
			for i, st := range kms.AllStates() {
				if columns[i] != st.String() {
					t.Fatalf("column %d got %s want %s", i, columns[i], st)
				}
				for _, terms := range allTerms() {
					cells++
					want := wantOf(t, row[i], terms)
					if want == frozen {
						want = kms.CodeVersionState
						if sw == kms.SuspendedKey {
							want = kms.CodeKeySuspended
						}
					}
					err := lifecycle.Permits(sw, st, need, terms)
					if got := kms.CodeOf(err); got != want {
						t.Errorf("%s key, %s version, %s, %+v: got %s want %s (cell %s)", sw, st, need, terms, got, want, row[i])
					}
					if err != nil && (kms.AsError(err).What == "" || kms.AsError(err).Advice() == "") {
						t.Errorf("%s key, %s version, %s: the refusal lacks words: %v", sw, st, need, err)
					}
				}
			}
		}
	}
	if want := len(rows) * len(columns) * 16; cells != want || cells != 6*8*7*16 {
		t.Errorf("compared %d cells, the matrix has %d", cells, want)
	}
}

func TestPermissionNeedsSwitchAndState(t *testing.T) {
	for _, terms := range allTerms() {
		for _, need := range lifecycle.AllNeeds() {
			set := lifecycle.StatesFor(need, terms)
			for _, sw := range kms.AllSwitches() {
				for _, st := range kms.AllStates() {
					want := lifecycle.KeyPermits(sw, need, terms) == nil && lifecycle.VersionPermits(st, need, terms) == nil
					if got := lifecycle.Permits(sw, st, need, terms) == nil; got != want {
						t.Errorf("%s %s %s %+v: got %v want %v", sw, st, need, terms, got, want)
					}
					if got := set.Has(st); got != (lifecycle.VersionPermits(st, need, terms) == nil) {
						t.Errorf("StatesFor(%s, %+v) has %s: got %v", need, terms, st, got)
					}
				}
			}
		}
	}
}

// TestNoTermsLetMaterialOutOfDestroyed: whatever is granted, destroyed serves nothing that touches material.
func TestNoTermsLetMaterialOutOfDestroyed(t *testing.T) {
	for _, terms := range allTerms() {
		for _, need := range []lifecycle.Need{lifecycle.Protect, lifecycle.Process, lifecycle.Rewrap, lifecycle.Publish} {
			for _, st := range kms.AllStates() {
				if lifecycle.Permits(kms.DestroyedKey, st, need, terms) == nil {
					t.Errorf("a destroyed key with a %s version does %s under %+v", st, need, terms)
				}
			}
			for _, sw := range kms.AllSwitches() {
				for _, st := range []kms.State{kms.Destroyed, kms.DestroyedCompromised} {
					if lifecycle.Permits(sw, st, need, terms) == nil {
						t.Errorf("a %s version of a %s key does %s under %+v", st, sw, need, terms)
					}
				}
			}
		}
	}
}

func TestWhatDoesNotExistIsRefused(t *testing.T) {
	for name, err := range map[string]error{
		"switch 0":      lifecycle.Permits(0, kms.Active, lifecycle.Protect, lifecycle.Terms{}),
		"switch 7":      lifecycle.Permits(7, kms.Active, lifecycle.Protect, lifecycle.Terms{}),
		"switch 255":    lifecycle.Permits(255, kms.Active, lifecycle.Read, lifecycle.Terms{}),
		"state 0":       lifecycle.Permits(kms.Enabled, 0, lifecycle.Protect, lifecycle.Terms{}),
		"state 9":       lifecycle.Permits(kms.Enabled, 9, lifecycle.Protect, lifecycle.Terms{}),
		"state 255":     lifecycle.Permits(kms.Enabled, 255, lifecycle.Read, lifecycle.Terms{}),
		"need 0":        lifecycle.Permits(kms.Enabled, kms.Active, 0, lifecycle.Terms{}),
		"need 8":        lifecycle.Permits(kms.Enabled, kms.Active, 8, lifecycle.Terms{}),
		"need 255":      lifecycle.VersionPermits(kms.Active, 255, lifecycle.Terms{}),
		"from state 0":  lifecycle.Next(0, kms.Active),
		"to state 9":    lifecycle.Next(kms.PreActive, 9),
		"to state 0":    lifecycle.Next(kms.PreActive, 0),
		"to state 255":  lifecycle.Next(kms.PreActive, 255),
		"destruction 0": second(lifecycle.Destruction(0)),
		"destruction 9": second(lifecycle.Destruction(9)),
		"move 0":        second(lifecycle.Turn(kms.Enabled, 0, 0)),
		"move 10":       second(lifecycle.Turn(kms.Enabled, 0, 10)),
		"turn of 0":     second(lifecycle.Turn(0, 0, lifecycle.Enable)),
		"turn of 7":     second(lifecycle.Turn(7, 0, lifecycle.Enable)),
		"turn of 255":   second(lifecycle.Turn(255, 0, lifecycle.Disable)),
	} {
		if got := kms.CodeOf(err); got != kms.CodeInternal {
			t.Errorf("%s: got %v want %s", name, err, kms.CodeInternal)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestTransitionsAreThoseOfTheMatrix(t *testing.T) {
	columns, rows := table(t, "testdata/transitions.txt", 1)
	codes := map[string]kms.Code{"+": 0, "=": kms.CodeAlreadyDone, ".": kms.CodeVersionState}
	for _, from := range kms.AllStates() {
		for i, to := range kms.AllStates() {
			if columns[i] != to.String() {
				t.Fatalf("column %d got %s want %s", i, columns[i], to)
			}
			want, known := codes[rows[from.String()][i]]
			if err := lifecycle.Next(from, to); !known || kms.CodeOf(err) != want {
				t.Errorf("%s to %s: got %v want %s", from, to, err, rows[from.String()][i])
			}
		}
	}
}

func TestNothingEverLeavesDestroyed(t *testing.T) {
	for _, from := range []kms.State{kms.Destroyed, kms.DestroyedCompromised} {
		for _, to := range kms.AllStates() {
			if lifecycle.Next(from, to) == nil {
				t.Errorf("%s became %s", from, to)
			}
		}
		if steps, err := lifecycle.Destruction(from); err == nil {
			t.Errorf("%s was destroyed again: %v", from, steps)
		}
	}
	for _, was := range kms.AllSwitches() {
		for _, m := range lifecycle.AllMoves() {
			if to, err := lifecycle.Turn(kms.DestroyedKey, was, m); err == nil || to != 0 {
				t.Errorf("a destroyed key became %s by %s", to, m)
			}
		}
	}
	// And by any walk: from every state, what is reached from a destroyed one is nothing.
	for _, from := range kms.AllStates() {
		seen := map[kms.State]bool{}
		var walk func(kms.State, bool)
		walk = func(at kms.State, gone bool) {
			if gone && at != kms.Destroyed && at != kms.DestroyedCompromised {
				t.Errorf("from %s a walk came back from destroyed to %s", from, at)
			}
			if seen[at] {
				return
			}
			seen[at] = true
			for _, to := range kms.AllStates() {
				if lifecycle.Next(at, to) == nil {
					walk(to, gone || at == kms.Destroyed || at == kms.DestroyedCompromised)
				}
			}
		}
		walk(from, false)
		if from != kms.Destroyed && !seen[kms.Destroyed] && from != kms.DestroyedCompromised {
			t.Errorf("a version that is %s can never be destroyed", from)
		}
		if seen[kms.PreActive] && from != kms.PreActive {
			t.Errorf("%s leads back to pre-active", from)
		}
	}
}

func TestDestructionTakesOnlyPermittedSteps(t *testing.T) {
	for _, from := range kms.AllStates() {
		steps, err := lifecycle.Destruction(from)
		if from == kms.Destroyed || from == kms.DestroyedCompromised {
			if kms.CodeOf(err) != kms.CodeAlreadyDone {
				t.Errorf("%s: got %v want %s", from, err, kms.CodeAlreadyDone)
			}
			continue
		}
		if err != nil || len(steps) == 0 {
			t.Fatalf("%s: got %v, %v", from, steps, err)
		}
		at := from
		for _, to := range steps {
			if err := lifecycle.Next(at, to); err != nil {
				t.Errorf("%s: step to %s: %v", from, to, err)
			}
			at = to
		}
		want := kms.Destroyed
		if from == kms.Compromised {
			want = kms.DestroyedCompromised
		}
		if at != want {
			t.Errorf("%s ends as %s, want %s", from, at, want)
		}
	}
}

func TestMovesOfTheSwitchAreThoseOfTheMatrix(t *testing.T) {
	columns, rows := table(t, "testdata/moves.txt", 1)
	for _, from := range kms.AllSwitches() {
		for i, m := range lifecycle.AllMoves() {
			if columns[i] != m.String() {
				t.Fatalf("column %d got %s want %s", i, columns[i], m)
			}
			cell := rows[from.String()][i]
			got, err := lifecycle.Turn(from, kms.SuspendedKey, m)
			if n, bad := strconv.Atoi(cell); bad == nil {
				if kms.CodeOf(err) != kms.Code(n) || got != 0 || kms.AsError(err).Advice() == "" {
					t.Errorf("%s %s: got %s, %v want code %d with advice", from, m, got, err, n)
				}
				continue
			}
			want, known := kms.ParseSwitch(strings.Replace(cell, "before", kms.SuspendedKey.String(), 1))
			if !known || err != nil || got != want {
				t.Errorf("%s %s: got %s, %v want %s", from, m, got, err, cell)
			}
		}
	}
}

func TestCancellingNeverGivesMoreThanTheKeyHad(t *testing.T) {
	for was, want := range map[kms.Switch]kms.Switch{
		kms.Enabled: kms.Enabled, kms.Disabled: kms.Disabled, kms.SuspendedKey: kms.SuspendedKey, kms.PendingImport: kms.PendingImport,
		0: kms.Disabled, kms.PendingDestruction: kms.Disabled, kms.DestroyedKey: kms.Disabled, 99: kms.Disabled, 255: kms.Disabled,
	} {
		if got, err := lifecycle.Turn(kms.PendingDestruction, was, lifecycle.Cancel); err != nil || got != want {
			t.Errorf("was %s: got %s, %v want %s", was, got, err, want)
		}
	}
}

func TestDestructionWindow(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Date(2031, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		window      time.Duration
		development bool
		want        time.Duration // after now; -1: refused
	}{
		{0, false, 30 * day}, {7 * day, false, 7 * day}, {7*day - 1, false, -1}, {time.Second, false, -1}, {-day, false, -1},
		{365 * day, false, 365 * day}, {365*day + 1, false, -1}, {1<<63 - 1, false, -1}, {-1 << 63, false, -1},
		{0, true, 30 * day}, {1, true, 1}, {time.Minute, true, time.Minute}, {-1, true, -1}, {366 * day, true, -1},
	} {
		got, err := lifecycle.End(now, c.window, c.development)
		switch {
		case c.want < 0 && (kms.CodeOf(err) != kms.CodeWindow || !got.IsZero()):
			t.Errorf("window %s, development %v: got %s, %v want %s", c.window, c.development, got, err, kms.CodeWindow)
		case c.want >= 0 && (err != nil || got != now.Add(c.want)):
			t.Errorf("window %s, development %v: got %s, %v want %s", c.window, c.development, got, err, now.Add(c.want))
		}
	}
	_, err := lifecycle.End(now, day, false)
	if want := "a destruction window of 1 day was asked for, the limits are 7 days and 365 days"; kms.AsError(err).What != want {
		t.Errorf("got %q want %q", kms.AsError(err).What, want)
	}
}

// TestAtEveryMomentEitherCancelOrDestroy: the two never both succeed, and one always does.
func TestAtEveryMomentEitherCancelOrDestroy(t *testing.T) {
	end := time.Date(2031, 3, 31, 0, 0, 0, 0, time.UTC)
	for _, now := range []time.Time{{}, end.Add(-time.Hour), end.Add(-1), end, end.Add(1), end.Add(time.Hour)} {
		cancel, destroy := lifecycle.Cancellable(end, now), lifecycle.Due(end, now)
		if early := now.Before(end); (cancel == nil) != early || (destroy == nil) == early {
			t.Errorf("at %s: cancel %v, destroy %v", now, cancel, destroy)
		}
		for _, err := range []error{cancel, destroy} {
			if err != nil && kms.CodeOf(err) != kms.CodeWindow {
				t.Errorf("at %s: got %v want %s", now, err, kms.CodeWindow)
			}
		}
	}
	if lifecycle.Due(time.Time{}, end) == nil || lifecycle.Cancellable(time.Time{}, end) != nil {
		t.Error("a key without a date of destruction is destroyed, or cannot be cancelled")
	}
}

func ExamplePermits() {
	err := lifecycle.Permits(kms.Enabled, kms.Deactivated, lifecycle.Process, lifecycle.Terms{})
	fmt.Println(err)
	fmt.Println(kms.AsError(err).Advice())
	fmt.Println(lifecycle.Permits(kms.Enabled, kms.Deactivated, lifecycle.Process, lifecycle.Terms{Recall: true}))
	// Output:
	// KH1505 version's state forbids it: the version is deactivated and does not process
	// ask for a recall, or let the key's policy process with deactivated versions
	// <nil>
}
