//go:build !linux

package clock

import "time"

// sinceBoot is not to be had here: time that the machine sleeps through is seen as a step of its clock.
func sinceBoot() time.Duration { return 0 }
