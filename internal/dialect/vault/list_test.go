package vault

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// TestPagesHoldEveryNameOnce: whoever follows the warnings, or asks with a limit, sees all names in their order, whatever order they come in.
func TestPagesHoldEveryNameOnce(t *testing.T) {
	all := make([]string, 2*maxListed+500)
	for i := range all {
		all[i] = fmt.Sprintf("k%06d", i)
	}
	for _, limit := range []string{"", "7000", "-1", "999999"} {
		var seen []string
		for q := (url.Values{"limit": {limit}}); ; {
			p, f := listingOf(q)
			if f != nil {
				t.Fatal(f)
			}
			rand.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
			for _, name := range all {
				p.add(name)
			}
			names, warning := p.end()
			if seen = append(seen, names...); len(names) == 0 {
				break
			}
			last := names[len(names)-1]
			if told := strings.HasSuffix(warning, "after="+last); told == (limit == "7000" || len(seen) == len(all)) {
				t.Errorf("limit %q, %d of %d names: warned %q", limit, len(seen), len(all), warning)
			}
			q.Set("after", last)
		}
		slices.Sort(all)
		if !slices.Equal(seen, all) {
			t.Errorf("limit %q: got %d names want %d", limit, len(seen), len(all))
		}
	}
	if _, f := listingOf(url.Values{"limit": {"x"}}); f == nil {
		t.Error("a limit that is no number is taken")
	}
}
