// A clang-tidy plugin: every check sees the declarations of this project alone. Without it each
// file's checks also walk through all of Boost and the standard library, whose findings are thrown
// away at the end. LLVM 22 does so by itself. Why it works: docs/decisions/0021-tidy-own-code.md.
#include <clang-tidy/ClangTidyCheck.h>
#include <clang-tidy/ClangTidyModule.h>
#include <clang-tidy/ClangTidyModuleRegistry.h>
#include <clang/AST/ASTContext.h>
#include <clang/Basic/SourceManager.h>

#include <vector>

namespace {

using clang::ast_matchers::MatchFinder;

// Reports nothing. A translation unit is matched before what it contains is walked through, and
// what that is, is asked for only afterwards: so this narrows the walk of all checks that share the
// finder.
class OwnCodeOnly : public clang::tidy::ClangTidyCheck {
 public:
  using ClangTidyCheck::ClangTidyCheck;

  void registerMatchers(MatchFinder* finder) override {
    finder->addMatcher(clang::ast_matchers::translationUnitDecl(), this);
  }

  void check(const MatchFinder::MatchResult& result) override {
    const clang::SourceManager& sources = *result.SourceManager;
    std::vector<clang::Decl*> own;
    // noload: what comes from the precompiled header is a library's too, and stays unread.
    for (clang::Decl* decl : result.Context->getTranslationUnitDecl()->noload_decls()) {
      if (!decl->isFromASTFile() &&
          !sources.isInSystemHeader(sources.getExpansionLoc(decl->getLocation()))) {
        own.push_back(decl);
      }
    }
    result.Context->setTraversalScope(own);
  }
};

class OwnCodeModule : public clang::tidy::ClangTidyModule {
 public:
  void addCheckFactories(clang::tidy::ClangTidyCheckFactories& factories) override {
    factories.registerCheck<OwnCodeOnly>("fairlead-own-code-only");
  }
};

const clang::tidy::ClangTidyModuleRegistry::Add<OwnCodeModule> kModule(
    "fairlead", "Narrows all checks to one's own code.");

}  // namespace
