// Package report makes tables of results. The speed of a machine that others use as well drifts from minute to minute, CPU time included:
// so what counts is the ratio to the yardstick in the same group of runs, and of these the median, with their range beside it. Absolute
// figures stand there as the least that was seen, since other work only ever adds to them.
package report

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/keyhold/keyhold/bench/internal/results"
)

// Base is the server that the others are divided by.
const Base = "bare"

// shape is what makes runs comparable.
type shape struct {
	op        string
	conns     int
	reconnect bool
}

func shapeOf(r *results.Run) shape { return shape{r.Op, r.Conns, r.Reconnect} }

// group is the runs of one shape that were made one after the other.
type group struct {
	shape
	file, number int
}

// series is all runs of one server in one shape.
type series struct {
	runs   []*results.Run
	ratios []float64 // of CPU time to the yardstick's
	over   []float64 // CPU µs beyond the yardstick's
}

// Data is all that was measured.
type Data struct {
	machine *results.Machine
	disks   []*results.Disk
	series  map[shape]map[string]*series
	above   []float64 // µs that a request on one connection took beyond a sync of its group: medians of both
	left    int       // runs that do not count
}

// leastCPU is the CPU time that a run needs to count, in seconds: it is accounted in steps of a hundredth.
const leastCPU = 0.2

// counts tells whether a run is one: without errors, and not starved by whatever else the machine does.
func counts(r *results.Run) bool {
	return r.Op == results.Idle || r.Errors == 0 && r.CPU()*float64(r.Ops) >= leastCPU*1e6
}

// Gather sorts the lines of files into series. Groups of different files are different groups.
func Gather(files ...[]results.Line) *Data {
	d := &Data{series: map[shape]map[string]*series{}}
	groups := map[group][]*results.Run{}
	var order []group
	for i, lines := range files {
		synced := map[int]float64{} // by group
		for _, l := range lines {
			switch {
			case l.Machine != nil:
				d.machine = l.Machine
			case l.Disk != nil:
				d.disks = append(d.disks, l.Disk)
				synced[l.Disk.Group] = l.Disk.P50
			case l.Run != nil && !counts(l.Run):
				d.left++
			case l.Run != nil:
				g := group{shapeOf(l.Run), i, l.Run.Group}
				if groups[g] == nil {
					order = append(order, g)
				}
				groups[g] = append(groups[g], l.Run)
				if sync, ok := synced[l.Run.Group]; ok && l.Run.Conns == 1 && l.Run.Server == product {
					d.above = append(d.above, l.Run.P50-sync)
				}
			}
		}
	}
	for _, g := range order {
		d.add(g.shape, groups[g])
	}
	return d
}

func (d *Data) add(s shape, runs []*results.Run) {
	base := 0.0
	for _, r := range runs {
		if r.Server == Base {
			base = r.CPU()
		}
	}
	if d.series[s] == nil {
		d.series[s] = map[string]*series{}
	}
	for _, r := range runs {
		of := d.series[s][r.Server]
		if of == nil {
			of = &series{}
			d.series[s][r.Server] = of
		}
		of.runs = append(of.runs, r)
		if base > 0 && r.Server != Base {
			of.ratios = append(of.ratios, r.CPU()/base)
			of.over = append(of.over, r.CPU()-base)
		}
	}
}

// of finds a series, or an empty one.
func (d *Data) of(server string, s shape) *series {
	if found := d.series[s][server]; found != nil {
		return found
	}
	return &series{}
}

// least is the run with the least CPU time.
func (s *series) least() *results.Run {
	return slices.MinFunc(s.runs, func(a, b *results.Run) int { return cmp.Compare(a.CPU(), b.CPU()) })
}

// each takes one figure of every run.
func (s *series) each(figure func(*results.Run) float64) []float64 {
	var all []float64
	for _, r := range s.runs {
		all = append(all, figure(r))
	}
	return all
}

// Median is the middle of the values, or the mean of the two in the middle. Of none it is 0.
func Median(values []float64) float64 {
	n := len(values)
	if n == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(values))
	return (v[(n-1)/2] + v[n/2]) / 2
}

// spread writes a median with its range: "3.8 (3.4–3.9)".
func spread(values []float64, format string) string {
	switch len(values) {
	case 0:
		return "–"
	case 1:
		return fmt.Sprintf(format, values[0])
	}
	return fmt.Sprintf(format+" ("+format+"–"+format+")", Median(values), slices.Min(values), slices.Max(values))
}

// less are the ratios when so many CPU µs of each operation are not counted.
func (s *series) less(micros float64) []float64 {
	all := make([]float64, len(s.ratios))
	for i, r := range s.ratios {
		all[i] = r
		if r != 1 { // how far it is from the yardstick, in both measures, gives the yardstick's time
			all[i] -= micros * (r - 1) / s.over[i]
		}
	}
	return all
}
