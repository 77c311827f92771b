package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/keyhold/keyhold/bench/internal/api"
	"github.com/keyhold/keyhold/bench/internal/results"
)

// peer is what OpenBao costs, as a multiple of the same yardstick.
type peer struct{ standard, tuned float64 }

// openbao was measured once by this method, on two cores of an AMD EPYC: OpenBao 2.6.2 with raft storage and the file audit device, which
// writes without a sync. Standard is a token with the built-in default policy, tuned one without it and with one plain policy.
var openbao = map[string]peer{
	"encrypt-32": {32.7, 16.2}, "decrypt-32": {29.5, 13.6}, "encrypt-4096": {16.5, 11.1}, "decrypt-4096": {14.6, 10.3}, "datakey": {23.8, 12.2},
	"hmac": {28, 13.0}, "sign-ecdsa-p256": {11.0, 5.8}, "verify-ecdsa-p256": {7.8, 4.2}, "sign-ed25519": {13.3, 6.5}, "verify-ed25519": {7.9, 4.0},
	"sign-rsa-2048-pss": {1.8, 1.4}, "verify-rsa-2048-pss": {11.7, 5.7}, "batch-256x32": {19.9, 19.7}, "create": {73, 53}, "read": {34, 15.5},
}

// Markdown writes all tables.
func (d *Data) Markdown() string {
	var b strings.Builder
	d.head(&b)
	d.operations(&b)
	d.loads(&b)
	d.limits(&b)
	return b.String()
}

func (d *Data) head(b *strings.Builder) {
	if m := d.machine; m != nil {
		pinned := "server and client pinned to a core each"
		if !m.Pinned {
			pinned = "**server and client not pinned**: they share the cores"
		}
		fmt.Fprintf(b, "Keyhold %s on %s: %s, %d cores, Linux %s, %s, %s; %s.", m.Version, m.Date, m.CPU, m.Cores, m.Kernel, m.Filesystem, m.Go, pinned)
		if m.Note != "" {
			fmt.Fprintf(b, " %s.", m.Note)
		}
		b.WriteString("\n")
	}
	var others []float64
	for _, servers := range d.series {
		for _, s := range servers {
			others = append(others, s.each(func(r *results.Run) float64 { return 100 * r.Other })...)
		}
	}
	if len(others) > 0 {
		fmt.Fprintf(b, "Others took %s %% of the server's core meanwhile.", spread(others, "%.0f"))
	}
	if len(d.disks) > 0 {
		one, many := []float64{}, []float64{}
		for _, k := range d.disks {
			one, many = append(one, k.P50), append(many, k.PerSecond)
		}
		fmt.Fprintf(b, " One fdatasync took %s µs, and %d waiters got %s records a second to the disk.", spread(one, "%.0f"), d.disks[0].Waiters, spread(many, "%.0f"))
	}
	if d.left > 0 {
		fmt.Fprintf(b, " Runs that do not count, because they had errors or the machine had too little time for them: %d.", d.left)
	}
	b.WriteString("\n\n")
}

// cell is a ratio with its range, and the least CPU time.
func (s *series) cell() string {
	if len(s.runs) == 0 {
		return "–"
	}
	if len(s.ratios) == 0 {
		return fmt.Sprintf("%.1f", s.least().CPU())
	}
	return fmt.Sprintf("**%.1f** (%.1f–%.1f) · %.1f", Median(s.ratios), slices.Min(s.ratios), slices.Max(s.ratios), s.least().CPU())
}

// operations is the table of all operations on 16 connections.
func (d *Data) operations(b *strings.Builder) {
	b.WriteString("| operation, 16 connections | B: least CPU µs | Keyhold, durable: × B (range) · least CPU µs | Keyhold, unsynced: × B | OpenBao default / tuned: × B |\n|---|---:|---:|---:|---:|\n")
	for _, op := range api.Ops {
		s := shape{op.Name, 16, false}
		base, ours := d.of(Base, s), d.of(product, s)
		if len(base.runs) == 0 || len(ours.runs) == 0 {
			continue
		}
		name := op.Name
		if op.Items > 0 {
			name += ", per item"
		}
		p := openbao[op.Name]
		fmt.Fprintf(b, "| %s | %s | %s | %s | %.1f / %.1f |\n", name, base.cell(), ours.cell(), d.of(unsynced, s).cell(), p.standard, p.tuned)
	}
	b.WriteString("\n")
}

// loads is the table of everything that was run in more than one way.
func (d *Data) loads(b *strings.Builder) {
	b.WriteString("| load | server | × B (range) · least CPU µs | operations/s | p50 µs | p99 µs |\n|---|---|---:|---:|---:|---:|\n")
	for _, s := range []shape{{"encrypt-32", 1, false}, {"encrypt-32", 16, false}, {"encrypt-32", 64, false}, {"encrypt-32", 16, true}, {"decrypt-32", 16, false}, {"datakey", 16, false}, {"hmac", 16, false}, {"encrypt-4096", 16, false}, {"batch-256x32", 16, false}, {"create", 16, false}} {
		for _, server := range d.servers(s) {
			of := d.of(server, s)
			name := fmt.Sprintf("%s, %d connections", s.op, s.conns)
			switch {
			case s.conns == 1:
				name = s.op + ", one connection"
			case s.reconnect:
				name += ", a handshake each"
			}
			median := func(figure func(*results.Run) float64) float64 { return Median(of.each(figure)) }
			fmt.Fprintf(b, "| %s | %s | %s | %.0f | %.0f | %.0f |\n", name, server, of.cell(), median(func(r *results.Run) float64 { return r.PerSecond }),
				median(func(r *results.Run) float64 { return r.P50 }), median(func(r *results.Run) float64 { return r.P99 }))
		}
	}
	b.WriteString("\n")
}

// servers lists those of a shape, the yardstick and its modes first.
func (d *Data) servers(s shape) []string {
	var all []string
	for name := range d.series[s] {
		all = append(all, name)
	}
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(rank(a)-rank(b), strings.Compare(a, b)) })
	return all
}

func rank(server string) int {
	order := []string{Base, written, durable, unsynced, product, awsUnsynced, aws, vaultUnsynced, vault}
	if i := slices.Index(order, server); i >= 0 {
		return i
	}
	return len(order)
}

// limits is the table of the bars.
func (d *Data) limits(b *strings.Builder) {
	b.WriteString("| bar | what | at most | measured, medians | |\n|---|---|---:|---|---|\n")
	for i := range bars {
		k := &bars[i]
		worst, ok := k.worst(d)
		if !ok {
			continue
		}
		var each []string
		for _, s := range k.at {
			if v := k.values(d, s); len(v) > 0 {
				text := fmt.Sprintf(formats[k.how], Median(v))
				if len(k.at) > 1 {
					text = s.op + " " + text
				}
				each = append(each, text)
			}
		}
		verdict := "met"
		if worst > k.most {
			verdict = "**missed**"
		}
		fmt.Fprintf(b, "| %s | %s | "+formats[k.how]+" %s | %s | %s |\n", k.id, k.what, k.most, k.unit, strings.Join(each, ", "), verdict)
	}
}

// The marks between which a page holds tables.
const (
	begin = "<!-- bench: begin -->\n"
	end   = "<!-- bench: end -->\n"
)

// Insert replaces what stands between the marks of a page.
func Insert(page, tables string) (string, error) {
	before, rest, ok := strings.Cut(page, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return "", fmt.Errorf("the page has no lines %q and %q", strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return before + begin + "\n" + strings.TrimSpace(tables) + "\n\n" + end + after, nil
}
