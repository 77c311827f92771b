package main

import (
	"slices"
	"strings"

	"github.com/keyhold/keyhold/bench/internal/api"
)

// The servers that are started.
const (
	bareOff      = "bare"
	bareUnsynced = "bare-unsynced"
	bareDurable  = "bare-durable"
	product      = "keyhold"
	unsynced     = "keyhold-unsynced"
	shaped       = "vault-shaped"
	aws          = "keyhold-aws" // the same program, asked in the AWS dialect
	awsUnsynced  = "keyhold-aws-unsynced"
	also         = "" // stands in a step for the server of -also

	// apart marks a process of its own for operations that make a server larger, and so change what all others cost.
	apart = "+create"
)

// label is a server's name in the results.
func label(name string) string { return strings.TrimSuffix(name, apart) }

var own = []string{bareOff, bareUnsynced, bareDurable, unsynced, product, awsUnsynced, aws, shaped}

// step is one shape, run on several servers in turn.
type step struct {
	op        string
	conns     int
	reconnect bool
	servers   []string
}

// Where more than yardstick and product are measured.
var extra = map[string][]string{
	"encrypt-32":        {bareUnsynced, bareDurable, unsynced, awsUnsynced, aws, shaped},
	"decrypt-32":        {unsynced, awsUnsynced, aws},
	"encrypt-4096":      {unsynced, shaped},
	"decrypt-4096":      {unsynced},
	"datakey":           {unsynced, awsUnsynced, aws},
	"hmac":              {unsynced},
	"sign-rsa-2048-pss": {unsynced},
	"batch-256x32":      {bareUnsynced, bareDurable, unsynced},
}

// further are the shapes beside 16 connections that are kept.
var further = []step{
	{"encrypt-32", 64, false, []string{bareOff, bareDurable, unsynced, product}},
	{"encrypt-32", 1, false, []string{bareOff, bareDurable, product}},
	{"encrypt-32", 16, true, []string{bareOff, product}},
}

// plan lists the steps of one group. The yardstick comes first in each: the others are divided by it.
func plan(ops, servers string) ([]step, error) {
	var known []string
	for _, op := range api.Ops {
		known = append(known, op.Name)
	}
	names, err := list(ops, known)
	if err != nil {
		return nil, err
	}
	wanted, err := list(servers, own)
	if err != nil {
		return nil, err
	}
	var all []step
	add := func(s step) {
		kept := slices.DeleteFunc(slices.Clone(s.servers), func(n string) bool { return n != also && !slices.Contains(wanted, label(n)) })
		if len(kept) > 0 {
			s.servers = kept
			all = append(all, s)
		}
	}
	for _, op := range names {
		if op == "create" {
			add(step{op, 16, false, []string{bareOff + apart, product + apart, also}})
		} else {
			add(step{op, 16, false, slices.Concat([]string{bareOff}, extra[op], []string{product, also})})
		}
	}
	for _, s := range further {
		if ops == "all" {
			add(s)
		}
	}
	return all, nil
}
