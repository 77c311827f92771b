package audit

import (
	"sync"

	"github.com/keyhold/keyhold/internal/audit/segment"
)

// maxListed bounds the boot epochs whose lists of segments are remembered.
const maxListed = 256

// catalog remembers which segments the boot epochs have, so that reading one record does not list a folder. Whoever adds or removes a segment says so.
type catalog struct {
	mu    sync.Mutex // guards the fields below
	lists map[string][]segment.File
	turns uint64 // how often something was forgotten
}

// segments gives the segments of an epoch's folder, in order. The list is not to be changed.
func (c *catalog) segments(dir string) ([]segment.File, error) {
	c.mu.Lock()
	files, known := c.lists[dir]
	turn := c.turns
	c.mu.Unlock()
	if known {
		return files, nil
	}
	files, _, err := segment.List(dir)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.turns == turn { // otherwise what was read may be old already
		if c.lists == nil || len(c.lists) >= maxListed {
			c.lists = map[string][]segment.File{}
		}
		c.lists[dir] = files
	}
	return files, nil
}

// forget is called when an epoch's segments have changed.
func (c *catalog) forget(dir string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turns++
	delete(c.lists, dir)
}
