package datakey

import "time"

// window is over how much time a speed is measured, roughly: older pages count for less and less.
const window = 20 * time.Second

// Meter measures how fast a campaign goes. The zero value is ready. It is not safe for concurrent use.
type Meter struct {
	speed float64 // rows a second
	spent time.Duration
	rows  int
}

// Add counts a page and the rest after it.
func (m *Meter) Add(rows int, spent time.Duration) {
	m.rows, m.spent = m.rows+rows, m.spent+spent
	const least = time.Second // of measure before a speed is told
	if m.spent < least {
		return
	}
	now := float64(m.rows) / m.spent.Seconds()
	if m.speed == 0 {
		m.speed = now
	} else {
		weight := min(m.spent.Seconds()/window.Seconds(), 1)
		m.speed += (now - m.speed) * weight
	}
	m.rows, m.spent = 0, 0
}

// PerSecond is the speed in rows a second; 0: not known yet.
func (m *Meter) PerSecond() float64 { return m.speed }

// Remaining estimates how long the rest takes at a speed; 0: not known, or nothing is left.
func Remaining(left uint64, perSecond float64) time.Duration {
	const longest = 100 * 365 * 24 * time.Hour // beyond, nobody believes it
	if left == 0 || perSecond <= 0 {
		return 0
	}
	seconds := float64(left) / perSecond
	if seconds >= longest.Seconds() {
		return longest
	}
	return max(time.Duration(seconds*float64(time.Second)).Round(time.Second), time.Second)
}
