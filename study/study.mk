# The study, from the weights that are kept to the tables; `make study` calls it.
# What was trained is not trained again: stop it and start it as you like. Times are of
# 2 cores with nothing beside them.
BIN ?= .venv/bin
DATA ?= $(KERAS_EXPERTS_DATA)
RUN := $(BIN)/keras-experts
WORK := study/work
POOLS := study/pools
FULL := $(shell sed -n 's/.*\/\(.*\)-full\/1/\1/p' $(POOLS)/full.txt)
GIN := --gin_param 'DATA_DIR = "$(DATA)"' 'NUM_STEPS = 600'
# Length and batch of the miniature preset. Each task has the rate that is the best of
# three for the baseline, on a fifth of the training images.
RECIPE := --num_images 7680 --batch_size 32 --sweep rates --swept baseline
# Those of the paper's table 5, and others: among all together, and of adapters and of
# whole networks alone.
PAPER := random knn label_matching domain_prediction
OTHERS := logistic logme name_matching
METHODS := baseline $(PAPER) $(OTHERS) $(PAPER:=@nodes) $(PAPER:=@full) knn@random
HIERARCHY := --hierarchy $(DATA)/hierarchies/cifar100_wordnet.is_a.txt

.PHONY: study evaluation small again larger
study: evaluation small again larger
	$(BIN)/python -m study.keep $(WORK)/methods
	$(BIN)/python -m study.keep $(WORK)/small_methods $(WORK)/small_oracle \
	  $(WORK)/small_again $(WORK)/small_larger --run $(SMALL)/run
	$(BIN)/python -m study.few --data_dir $(DATA)
	$(BIN)/python -m study.few --data_dir $(DATA) --name small_few \
	  --modules $(POOLS)/small_full.txt
	$(BIN)/python -m study.within $(WORK)/run $(SMALL)/run --data_dir $(DATA)
	$(BIN)/python -m study.combined --data_dir $(DATA)
	$(BIN)/python -m study.report

$(WORK)/run/baseline/metadata.json: study/upstream.npz
	$(BIN)/python benchmarks/device_weights.py unpack --weights $< --workdir $(WORK)/run
	cp study/experts.json $(WORK)/run/

# 80 minutes: 12 whole networks, and two for domain adaptive transfer.
$(WORK)/run/trained: $(WORK)/run/baseline/metadata.json
	$(RUN) train_experts --gin_file stages/cifar100_full.gin $(GIN) \
	  --workdir $(WORK)/run --experts $(FULL)
	$(RUN) train_experts --gin_file stages/cifar100_dat.gin $(GIN) \
	  'domain_adaptive_slices.tasks = ["flowers5", "trashnet"]' \
	  --workdir $(WORK)/run
	$(RUN) train_epn --gin_file stages/cifar100_epn.gin \
	  --gin_param 'DATA_DIR = "$(DATA)"' --workdir $(WORK)/run
	touch $@

# 6 minutes.
$(WORK)/collection/collection.json: $(WORK)/run/trained
	$(RUN) export --workdir $(WORK)/run --output $(WORK)/collection \
	  --publisher keras-experts --name study

$(WORK)/tasks/solids_count.npz: study/structured.py
	$(BIN)/python -m study.structured --output $(WORK)/tasks

# 40 to 60 seconds a training, of each choice of a method one.
EVALUATE := $(RUN) evaluate --data_dir $(DATA) $(RECIPE) --repeats 1 --processes 2
evaluation: $(WORK)/collection/collection.json $(WORK)/tasks/solids_count.npz
	$(EVALUATE) --suite study/suite.json --output $(WORK)/methods \
	  --trials study/trials --runs 1 --modules $(POOLS)/all.txt \
	  $(HIERARCHY) --methods $(METHODS) knn@clusters dat@dat \
	  $(foreach pool,nodes clusters full random dat,\
	  --pool $(pool) $(POOLS)/$(pool).txt)

# The same with a network that is too small for its data: 2 hours to train, then 12
# seconds a training.
SMALL := $(WORK)/small
SMALL_FULL := $(shell sed -n 's/.*\/\(.*\)-full\/1/\1/p' $(POOLS)/small_full.txt)
SMALL_RANDOM := random_artifact random_vascular_plant
SMALL_RANDOM_ADAPTERS := $(SMALL_RANDOM) random_animal random_vehicle
TRAIN_SMALL := --gin_param 'DATA_DIR = "$(DATA)"' --workdir $(SMALL)/run
$(SMALL)/run/trained:
	mkdir -p $(SMALL)/run
	cp study/experts.json $(SMALL)/run/
	$(RUN) train_baseline --gin_file stages/cifar100_small_baseline.gin \
	  $(TRAIN_SMALL)
	$(RUN) train_experts --gin_file stages/cifar100_small_full.gin \
	  $(TRAIN_SMALL) --experts $(SMALL_FULL)
	$(RUN) train_experts --gin_file stages/cifar100_small_random.gin \
	  $(TRAIN_SMALL) --experts $(SMALL_RANDOM)
	$(RUN) train_experts --gin_file stages/cifar100_small_adapters.gin \
	  $(TRAIN_SMALL)
	$(RUN) train_experts --gin_file stages/cifar100_random.gin \
	  --gin_param 'DATA_DIR = "$(DATA)"' 'NUM_STEPS = 600' 'LEARNING_RATE = 0.2' \
	  --workdir $(SMALL)/run --experts $(SMALL_RANDOM_ADAPTERS)
	$(RUN) train_epn --gin_file stages/cifar100_epn.gin $(TRAIN_SMALL)
	touch $@

$(SMALL)/collection/collection.json: $(SMALL)/run/trained
	$(RUN) export --workdir $(SMALL)/run --output $(SMALL)/collection \
	  --publisher keras-experts --name small

# Of each choice three, with other seeds. The oracle of whole networks trains every
# one once on all tasks, that of all modules on four.
EVALUATE_SMALL := $(EVALUATE) --trials study/trials_small
small: $(SMALL)/collection/collection.json $(WORK)/tasks/solids_count.npz
	$(EVALUATE_SMALL) --suite study/suite.json --output $(WORK)/small_methods \
	  --runs 3 --modules $(POOLS)/small.txt \
	  $(HIERARCHY) --methods $(METHODS) $(OTHERS:=@nodes) $(OTHERS:=@full) oracle@full \
	  $(foreach pool,nodes full random,--pool $(pool) $(POOLS)/small_$(pool).txt)
	$(EVALUATE_SMALL) --suite study/oracle.json --output $(WORK)/small_oracle \
	  --runs 3 --modules $(POOLS)/small.txt --methods baseline knn oracle

# More runs of the natural tasks, of what leads there: six that are new, since the
# oracle picks by the fourth.
again: $(SMALL)/collection/collection.json
	$(EVALUATE_SMALL) --suite study/natural.json --output $(WORK)/small_again \
	  --runs 10 --modules $(POOLS)/small.txt --pool full $(POOLS)/small_full.txt \
	  --methods baseline random@full knn@full logme@full domain_prediction@full

# With images of twice the side, where there are such: 30 seconds a training.
larger: $(SMALL)/collection/collection.json
	$(EVALUATE) --suite study/larger.json --output $(WORK)/small_larger \
	  --trials study/trials_larger --runs 3 \
	  --modules $(POOLS)/small_full_64.txt --pool full $(POOLS)/small_full_64.txt \
	  --methods baseline random@full knn@full logme@full domain_prediction@full
