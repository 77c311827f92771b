// Package archtest keeps the architecture: every package of the module stands in one table (table_test.go) with all that
// it may import, and the table's order is the direction of imports. It holds no code of the product; its tests read the
// source and the real import graph and fail on a package that is not placed, on a row without a package, and on an
// import or a permission that is not there for a reason. See ARCHITECTURE.md.
package archtest
